/**
 * Better Auth's API keys behind one route, verified as its documentation says (docs/decisions/0019):
 * `better-auth.ts database <url> <keys> <people>`, or `memory` instead of `database`. `database` is its
 * default. `memory` is its fastest configuration: keys in secondary storage (here a Map in this process), no
 * counting in the database, and the write of each use deferred.
 */
import { apiKey } from '@better-auth/api-key'
import { type BetterAuthPlugin, betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { Pool } from 'pg'
import { announce } from '../support/announcement.ts'

const [storage, databaseUrl, keyCount, peopleCount] = process.argv.slice(2)

const entries = new Map<string, string>()
const inMemory = {
  storage: 'secondary-storage' as const,
  deferUpdates: true,
  customStorage: {
    get: (key: string) => entries.get(key) ?? null,
    set: (key: string, value: string) => entries.set(key, value),
    delete(key: string) {
      entries.delete(key)
    },
    getAndDelete(key: string) {
      const value = entries.get(key) ?? null
      entries.delete(key)
      return value
    },
    increment(key: string) {
      const count = Number(entries.get(key) ?? 0) + 1
      entries.set(key, String(count))
      return count
    },
  },
}

// The default of ten uses a day would refuse most requests.
const options = { rateLimit: { enabled: false } }
const keys = storage === 'memory' ? apiKey({ ...options, ...inMemory }) : apiKey(options)

const auth = betterAuth({
  baseURL: 'http://localhost',
  secret: 'only-for-the-bench-and-long-enough-for-it',
  database: new Pool({ connectionString: databaseUrl ?? '', max: 10 }),
  // `deferUpdates` requires a handler.
  advanced: { backgroundTasks: { handler: (work) => void work.catch(() => {}) } },
  // Its own types do not match each other under exactOptionalPropertyTypes.
  plugins: [keys as unknown as BetterAuthPlugin],
})
await (await getMigrations(auth.options)).runMigrations()
const api = auth.api as unknown as {
  createApiKey(call: { body: { userId: string; name: string } }): Promise<{ key: string }>
  verifyApiKey(call: { body: { key: string } }): Promise<{ valid: boolean }>
}
// Users without passwords, because a sign-up would hash one.
const { internalAdapter } = await auth.$context
const people = await Promise.all(
  Array.from({ length: Number(peopleCount) }, (_, number) =>
    internalAdapter.createUser({ email: `bench-${number}@example.com`, name: 'bench' }, { method: 'admin' }),
  ),
)
const made = await Promise.all(
  Array.from({ length: Number(keyCount) }, (_, number) =>
    api.createApiKey({ body: { userId: people[number % people.length]?.id ?? '', name: 'bench' } }),
  ),
)

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  routes: {
    '/verify': {
      POST: async (request) => {
        const { key } = (await request.json()) as { key: string }
        return Response.json(await api.verifyApiKey({ body: { key } }))
      },
    },
  },
})
announce(
  server.url,
  made.map(({ key }) => ({ path: '/verify', method: 'POST', json: { key }, expected: '"valid":true' })),
)
