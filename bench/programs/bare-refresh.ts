/**
 * The yardstick of a refresh: bare Elysia with the same body and answer, one prepared UPDATE over as many
 * connections of the same driver as Latchkey has, and one ES256 signature. A token has the form
 * id.generation.salt and is not authenticated: `bare-refresh.ts <url>`.
 */
import { Elysia } from 'elysia'
import { generateKeyPair, SignJWT } from 'jose'
import postgres from 'postgres'
import { RefreshRequest, Tokens } from '../support/source.ts'

const CONNECTIONS = 10
const IDLE_MS = 7 * 86_400_000
const LASTS_SECONDS = 1800

const [databaseUrl = ''] = process.argv.slice(2)
const sql = postgres(databaseUrl, { max: CONNECTIONS })
const { privateKey } = await generateKeyPair('ES256')

const app = new Elysia()
  .post(
    '/auth/refresh',
    async ({ body }) => {
      const [id = '', generation = '', salt = ''] = (body.refresh_token ?? '').split('.')
      const presented = Number(generation)
      const now = new Date()
      const [row] = await sql<{ userId: string; role: string }[]>`
        UPDATE latchkey.sessions s
        SET generation = ${presented + 1}, rotated_at = ${now},
          idle_expires_at = LEAST(${new Date(now.getTime() + IDLE_MS)}, s.expires_at)
        FROM latchkey.users u
        WHERE s.id = ${id} AND s.salt = ${Buffer.from(salt, 'hex')} AND s.generation = ${presented}
          AND s.ended_at IS NULL AND s.idle_expires_at > ${now} AND s.expires_at > ${now}
          AND u.id = s.user_id AND u.is_active
        RETURNING s.expires_at, u.id AS "userId", u.role, u.scopes`
      if (!row) throw new Error('No such session')
      const token = new SignJWT({ sid: id, role: row.role, scope: 'read write' })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'bench' })
        .setIssuer('http://localhost')
        .setAudience('http://localhost')
        .setSubject(row.userId)
        .setJti(crypto.randomUUID())
        .setIssuedAt()
        .setExpirationTime(`${LASTS_SECONDS}s`)
      return {
        access_token: await token.sign(privateKey),
        refresh_token: `${id}.${presented + 1}.${salt}`,
        token_type: 'bearer' as const,
        expires_in: LASTS_SECONDS,
      }
    },
    { body: RefreshRequest, response: { 200: Tokens } },
  )
  .listen({ hostname: '127.0.0.1', port: 0 })
process.stdout.write(`Listening on ${app.server?.url}\n`)
