import postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { grantOf, signIn } from '../../src/core/login/sign-in.ts'
import type { PasswordCost } from '../../src/core/passwords/hasher.ts'
import { rows } from './rows.ts'
import { CHEAPEST, type TestService } from './service.ts'

/** The password of everybody whom `addPerson` makes. */
export const PASSWORD = 'correct-horse-battery'

/** A hash of `PASSWORD`. */
export const hashPassword = (cost: PasswordCost) =>
  Bun.password.hash(PASSWORD, { algorithm: 'argon2id', ...cost })

/** A user as `addPerson` made them. */
export type AddedPerson = {
  id: string
  email: string
  role: 'admin' | 'user'
  scopes: string[] | null
  passwordChangedAt: null
}
export type Tokens = { access: string; refresh: string }

/** A connection of a test's own to a service's database. */
export const connectTo = (service: Pick<TestService, 'databaseUrl'>) =>
  postgres(service.databaseUrl, { max: 1, onnotice: () => {} })

/** Puts a user into the database, with a hash of `PASSWORD` of the kind that `startService` makes unless `hash` is given. */
export async function addPerson(
  sql: postgres.Sql,
  more: { role?: 'admin' | 'user'; scopes?: string[]; email?: string; hash?: string } = {},
): Promise<AddedPerson> {
  const { id, email } = rows.user()
  const person = {
    id,
    email: more.email ?? email,
    role: more.role ?? ('user' as const),
    scopes: more.scopes ?? null,
    passwordChangedAt: null,
  }
  await sql`INSERT INTO latchkey.users (id, email, role, scopes, password_hash, created_at)
    VALUES (${id}, ${person.email}, ${person.role}, ${person.scopes}, ${more.hash ?? (await hashPassword(CHEAPEST))}, now())`
  return person
}

/** Begins a session, as a login does once the password is checked. */
export async function beginSession(service: TestService, person: AddedPerson): Promise<Tokens> {
  const wanted = { kind: 'api', scopes: null, remember: false } as const
  const { tokens } = await grantOf(service.context, await signIn(service.context, SYSTEM, person, wanted))
  return { access: tokens.access_token, refresh: tokens.refresh_token }
}

/** Somebody with one session. */
export async function addLoggedIn(
  service: TestService,
  sql: postgres.Sql,
  more: Parameters<typeof addPerson>[1] = {},
): Promise<AddedPerson & Tokens> {
  const person = await addPerson(sql, more)
  return { ...person, ...(await beginSession(service, person)) }
}
