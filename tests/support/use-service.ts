import { afterAll, beforeAll } from 'bun:test'
import type postgres from 'postgres'
import { connectTo } from './people.ts'
import { type Options, startService, type TestService } from './service.ts'

/** The resources that end with a service, in the order in which they began. */
const toEnd = new WeakMap<object, (() => Promise<unknown>)[]>()

/**
 * Makes something before the tests of a file, or of the surrounding `describe`. Its members are available
 * when the tests begin.
 * @example const person = prepare(() => newPerson(service))
 */
export function prepare<T extends object>(make: () => Promise<T>): T {
  const made = {} as T
  beforeAll(async () => {
    Object.assign(made, await make())
  })
  return made
}

/**
 * Starts a service before the tests of a file, or of the surrounding `describe`, and stops it after them.
 * @param on for a second server beside the first, on the same database
 */
export function useService(options: Options = {}, on?: TestService): TestService {
  const ends = (on && toEnd.get(on)) ?? []
  const service = prepare(async () => {
    const started = await startService(options, on)
    ends.push(started.stop)
    return started
  })
  toEnd.set(service, ends)
  if (!on) {
    // The last one first: the database ends together with the service that created it.
    afterAll(async () => {
      for (const end of ends.toReversed()) await end()
    })
  }
  return service
}

/** A connection of the tests to a service's database, open as long as the service runs. */
export function useSql(service: TestService): postgres.Sql {
  let sql: postgres.Sql | undefined
  beforeAll(() => {
    const opened = connectTo(service)
    toEnd.get(service)?.push(() => opened.end())
    sql = opened
  })
  const open = () => {
    if (!sql) throw new Error('The tests have not begun')
    return sql
  }
  // A postgres.js client is a function with members. A proxy can be handed out before the client exists.
  return new Proxy((() => {}) as unknown as postgres.Sql, {
    apply: (_, self, words) => Reflect.apply(open(), self, words),
    get: (_, name) => Reflect.get(open(), name),
  })
}
