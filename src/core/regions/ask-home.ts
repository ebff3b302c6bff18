import { Value } from '@sinclair/typebox/value'
import type { Config } from '../../config/config.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { HomeStatus } from './model.ts'

const WAIT_MS = 5 * SECOND_MS

/**
 * Asks home what it says of itself.
 * @returns a sentence in `unknown` where it does not answer, or without HOME_KEY
 */
export async function askHome({
  homeUrl,
  homeKey,
}: Pick<Config, 'homeUrl' | 'homeKey'>): Promise<{ status: HomeStatus } | { unknown: string }> {
  if (homeUrl === null || homeKey === null)
    return { unknown: 'home is not asked: HOME_URL and HOME_KEY are needed for it' }
  try {
    const response = await fetch(`${homeUrl}/region/status`, {
      headers: { authorization: `Bearer ${homeKey.reveal()}` },
      // Another address would get HOME_KEY.
      redirect: 'error',
      signal: AbortSignal.timeout(WAIT_MS),
    })
    const status: unknown = await response.json()
    if (response.status === 200 && Value.Check(HomeStatus, status)) return { status }
    return { unknown: `home answered ${response.status} at ${homeUrl}/region/status` }
  } catch {
    return { unknown: `home does not answer at ${homeUrl}` }
  }
}
