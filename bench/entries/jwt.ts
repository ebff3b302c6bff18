import type { Entry } from '../support/entry.ts'
import { compareProtectedRoute } from '../support/protected-route.ts'

/** A protected route by ES256 access token: the token was verified before, the cache is warm. */
export const jwt: Entry = {
  name: 'jwt',
  title: 'GET /protected/user-only by access token, against bare Elysia',
  budget: 0.55,
  goal: 0.65,
  run: (options) =>
    compareProtectedRoute(
      ({ person }) => ({
        path: '/protected/user-only',
        headers: { Authorization: `Bearer ${person.access}` },
      }),
      options,
    ),
}
