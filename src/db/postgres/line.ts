import type postgres from 'postgres'

/** One connection. `isOver`: it is not to be used again; `failure`: nor is what it answered. */
export type Line = { client: postgres.Sql; isOver: boolean; failure: Error | null }

type Query = postgres.PendingQuery<postgres.Row[]>

/** drizzle calls `.values()` on a query or awaits it as it is; nothing runs before it does either. */
export function lazily(run: (finish: (query: Query) => PromiseLike<unknown>) => Promise<unknown>) {
  return {
    values: () => run((query) => query.values()),
    // biome-ignore lint/suspicious/noThenProperty: it stands in for a query of postgres.js, which is a thenable
    then: (...handlers: Parameters<Promise<unknown>['then']>) => run((query) => query).then(...handlers),
  }
}
