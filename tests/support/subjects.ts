import type postgres from 'postgres'
import { FIRST_PARTY_CLIENT } from '../../src/core/signing/claims.ts'
import { hashToken, makeApiKey } from '../../src/lib/tokens.ts'
import type { TestService } from './service.ts'

/** A person with a session and a key. */
export type Subject = { userId: string; sessionId: string; access: string; keyId: string; key: string }

/** Inserts people in the state in which sign-up, log-in and the creation of a key would leave them. */
export async function makeSubjects(at: TestService, sql: postgres.Sql, count: number): Promise<Subject[]> {
  const expiresAtMs = Date.now() + 25 * 60_000
  const subjects = await Promise.all(
    Array.from({ length: count }, async () => {
      const [userId, sessionId, keyId] = [Bun.randomUUIDv7(), Bun.randomUUIDv7(), Bun.randomUUIDv7()]
      const token = {
        subject: userId,
        audience: at.config.jwtAudience,
        clientId: FIRST_PARTY_CLIENT,
        sessionId,
        role: 'user',
        scopes: ['read'],
        isNarrowed: false,
        authentication: { authTime: new Date(), amr: ['pwd'] },
        expiresAtMs,
      }
      return {
        userId,
        sessionId,
        keyId,
        key: makeApiKey('sk_'),
        access: await at.context.signing.sign(token),
      }
    }),
  )
  const of = <T>(member: (subject: Subject) => T) => subjects.map(member)
  const users = of((subject) => subject.userId)
  const keys = of((subject) => subject.keyId)
  await sql`INSERT INTO latchkey.users (id, email, created_at)
    SELECT id, id || '@example.com', now() FROM unnest(${users}::uuid[]) AS id`
  await sql`INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT id, user_id, decode(md5(id::text), 'hex'), now(), now(), now() + interval '1 day', now() + interval '1 day'
    FROM unnest(${of((subject) => subject.sessionId)}::uuid[], ${users}::uuid[]) AS t (id, user_id)`
  await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
    SELECT id, user_id, '{read}', now() FROM unnest(${keys}::uuid[], ${users}::uuid[]) AS t (id, user_id)`
  const hashes = of(({ key }) => Buffer.from(hashToken(key)).toString('hex'))
  await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    SELECT gen_random_uuid(), key_id, decode(hash, 'hex'), 'sk_race', now()
    FROM unnest(${keys}::uuid[], ${hashes}::text[]) AS t (key_id, hash)`
  return subjects
}
