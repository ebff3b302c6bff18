/**
 * The yardstick as a program: bare Elysia that answers one path with one JSON object, and does nothing else.
 */
import { Elysia } from 'elysia'

const [path = '/', body = '{}'] = process.argv.slice(2)
const answer: Record<string, unknown> = JSON.parse(body)
const app = new Elysia().get(path, () => answer).listen({ hostname: '127.0.0.1', port: 0 })
process.stdout.write(`Listening on ${app.server?.url}\n`)
