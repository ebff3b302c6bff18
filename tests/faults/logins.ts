import { keepAliveClient, type Reply } from '../support/http-socket.ts'
import { PASSWORD } from '../support/people.ts'
import type { Bed } from './bed.ts'
import type { Checker } from './findings.ts'

/** E-mail addresses without an account. */
export const strangers = (count: number) =>
  Array.from({ length: count }, () => `${Bun.randomUUIDv7()}@example.com`)

/** Logs all of them in at once, each on a new connection, with the password of `addPerson`. */
export function fireLogins(bed: Bed, checker: Checker, emails: readonly string[]): Promise<Reply[]> {
  const logIn = async (email: string) => {
    const client = keepAliveClient(() => bed.places[0]?.url ?? '')
    const reply = await client.send('POST /auth/login', { json: { email, password: PASSWORD } })
    client.close()
    checker.hear('POST /auth/login', reply)
    return reply
  }
  return Promise.all(emails.map(logIn))
}
