/**
 * The yardstick of charging one owner: bare Elysia with one prepared UPDATE of one row for each use, over as many connections of
 * the same driver as Latchkey has: `bare-credits.ts <url> <owner id>`.
 */
import { Elysia } from 'elysia'
import postgres from 'postgres'

const CONNECTIONS = 10

const [databaseUrl = '', ownerId = ''] = process.argv.slice(2)
const sql = postgres(databaseUrl, { max: CONNECTIONS })

const app = new Elysia()
  .post('/keys/verify', async () => {
    const [row] = await sql<{ remaining: string }[]>`
      UPDATE latchkey.owner_credits SET remaining = remaining - 1
      WHERE owner_id = ${ownerId} AND remaining >= 1 RETURNING remaining`
    if (!row) throw new Error('No credits are left')
    return { valid: true, code: 'VALID', owner_credits: { remaining: Number(row.remaining) } }
  })
  .listen({ hostname: '127.0.0.1', port: 0 })
process.stdout.write(`Listening on ${app.server?.url}\n`)
