/** The yardstick of /keys/verify: bare Elysia with the same schemas, which always gives the same answer. */
import { Elysia } from 'elysia'
import { VerifyRequest, VerifyResult } from '../support/source.ts'

const [answer = '{}'] = process.argv.slice(2)
const result = JSON.parse(answer)
const app = new Elysia()
  .post('/keys/verify', () => result, { body: VerifyRequest, response: { 200: VerifyResult } })
  .listen({ hostname: '127.0.0.1', port: 0 })
process.stdout.write(`Listening on ${app.server?.url}\n`)
