import postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { grantOf, signIn } from '../../src/core/login/sign-in.ts'
import type { PasswordCost } from '../../src/core/passwords/hasher.ts'
import { rows } from './rows.ts'
import { CHEAPEST, type TestService } from './service.ts'

/** The password of every user that `addPerson` creates. */
export const PASSWORD = 'correct-horse-battery'

/** A hash of `PASSWORD`. */
export const hashPassword = (cost: PasswordCost) =>
  Bun.password.hash(PASSWORD, { algorithm: 'argon2id', ...cost })

/** A user that `addPerson` created. */
export type AddedPerson = {
  id: string
  email: string
  role: 'admin' | 'user'
  scopes: string[] | null
  passwordChangedAt: null
}
export type Tokens = { access: string; refresh: string }

/** A test's own connection to a service's database. */
export const connectTo = (service: Pick<TestService, 'databaseUrl'>) =>
  postgres(service.databaseUrl, { max: 1, onnotice: () => {} })

/** The scopes of a user who may also label keys. */
export const LABELLER = ['read', 'write', 'latchkey:keys.label']

/** Inserts a user. By default the hash of `PASSWORD` has the cost that `startService` uses. */
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

/** Starts a session as a log-in does after the password was checked. */
export async function beginSession(service: TestService, person: AddedPerson): Promise<Tokens> {
  const wanted = { kind: 'api', scopes: null, remember: false } as const
  const { tokens } = await grantOf(service.context, await signIn(service.context, SYSTEM, person, wanted))
  return { access: tokens.access_token, refresh: tokens.refresh_token }
}

/** A user with one session. */
export async function addLoggedIn(
  service: TestService,
  sql: postgres.Sql,
  more: Parameters<typeof addPerson>[1] = {},
): Promise<AddedPerson & Tokens> {
  const person = await addPerson(sql, more)
  return { ...person, ...(await beginSession(service, person)) }
}
