/**
 * The yardstick of a storm of log-ins: bare Elysia that answers one path, and hashes at most as many
 * passwords at once as Latchkey does: `bare-login.ts <path> <body> <concurrency> <hash>`.
 */
import { Elysia, t } from 'elysia'
import pLimit from 'p-limit'

const [path = '/', body = '{}', concurrency = '1', hash = ''] = process.argv.slice(2)
const answer: Record<string, unknown> = JSON.parse(body)
const lane = pLimit(Number(concurrency))
const app = new Elysia()
  .get(path, () => answer)
  .post(
    '/auth/login',
    async ({ body }) => ({ fits: await lane(() => Bun.password.verify(body.password, hash)) }),
    {
      body: t.Object({ email: t.String(), password: t.String() }),
    },
  )
  .listen({ hostname: '127.0.0.1', port: 0 })
process.stdout.write(`Listening on ${app.server?.url}\n`)
