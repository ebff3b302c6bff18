import { afterAll, beforeAll } from 'bun:test'
import type postgres from 'postgres'
import { connectTo } from './people.ts'
import { type Options, startService, type TestService } from './service.ts'

/** What ends with a service, in the order in which it began. */
const toEnd = new WeakMap<object, (() => Promise<unknown>)[]>()

/**
 * Makes something before the tests of a file, or of the `describe` around. Its members are there once they begin.
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
 * Starts a service before the tests of a file, or of the `describe` around, and stops it after them.
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
    // Last first: the database goes with the service that began on it.
    afterAll(async () => {
      for (const end of ends.toReversed()) await end()
    })
  }
  return service
}

/** A connection of the tests' own to a service's database, for as long as the service is there. */
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
  // It is a function with members, and is handed on before it is there.
  return new Proxy((() => {}) as unknown as postgres.Sql, {
    apply: (_, self, words) => Reflect.apply(open(), self, words),
    get: (_, name) => Reflect.get(open(), name),
  })
}
