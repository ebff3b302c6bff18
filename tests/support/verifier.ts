import { secret } from '../../src/lib/secret.ts'
import { newKey } from './client.ts'
import { addLoggedIn, connectTo } from './people.ts'
import { type Options, startService, type TestService } from './service.ts'

/** A key with which verifiers ask home. */
export async function newHomeKey(home: TestService): Promise<string> {
  const sql = connectTo(home)
  const { access } = await addLoggedIn(home, sql, { role: 'admin' })
  await sql.end()
  return (await newKey(home, access, { scopes: ['latchkey:region'] })).key
}

/**
 * Starts a verifier on the database of home itself, for tests that need no stream. Its copy counts as good until the test
 * says otherwise, by `context.region.freshness.learn`.
 * @param key null: without HOME_KEY
 */
export function startVerifier(
  home: TestService,
  key: string | null,
  options: Options = {},
): Promise<TestService> {
  const { publicUrl, publicUrlIsSet, jwtAudience } = home.config
  return startService(
    {
      mode: 'verify',
      migrate: 'check',
      secretKey: null,
      homeUrl: home.url,
      homeKey: key === null ? null : secret(key),
      regionName: key === null ? null : 'test-region',
      verifyMaxStalenessSeconds: 3600,
      readCopy: async () => ({ atMs: Date.now(), uncopied: 0, broken: null }),
      publicUrl,
      publicUrlIsSet,
      jwtAudience,
      ...options,
    },
    home,
  )
}
