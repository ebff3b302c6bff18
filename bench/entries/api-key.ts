import type { Entry } from '../support/entry.ts'
import { compareProtectedRoute } from '../support/protected-route.ts'

/** A protected route by API key: the key is known, the cache is warm. */
export const apiKey: Entry = {
  name: 'api-key',
  title: 'GET /protected/service-only by API key, against bare Elysia',
  budget: 0.5,
  goal: 0.6,
  run: (options) =>
    compareProtectedRoute(
      ({ key }) => ({ path: '/protected/service-only', headers: { 'X-API-Key': key } }),
      options,
    ),
}
