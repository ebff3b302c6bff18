import { secret } from '../lib/secret.ts'
import type { Config } from './config.ts'
import { isLoopback, parsePublicUrl } from './network.ts'
import { type Parsed, quote, type Reader } from './reader.ts'

const REGION_NAME = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/
/** The printable characters of ASCII, but for the comma: a header with one counts as two. */
const KEY = /^[\x21-\x2b\x2d-\x7e]{8,512}$/

/** The settings of a verifier in a region, and of its way home (docs/regions.md). */
type RegionConfig = Pick<
  Config,
  'homeUrl' | 'homeKey' | 'regionName' | 'verifyMaxStalenessSeconds' | 'verifyWhenStale' | 'regionRateLimits'
>

/** Reads the settings of a verifier. */
export function readRegion(read: Reader): RegionConfig {
  const homeKey = read.secret('HOME_KEY')
  const key = homeKey?.reveal()
  if (key !== undefined && key === key.trim() && !KEY.test(key))
    read.fault('HOME_KEY must be an API key of home, in one word')
  return {
    homeUrl: read.parsed('HOME_URL', parsePublicUrl, null),
    homeKey: key === undefined ? null : secret(key),
    regionName: read.parsed('REGION_NAME', parseRegionName, null),
    verifyMaxStalenessSeconds: read.integer('VERIFY_MAX_STALENESS_SECONDS', { min: 2, max: 3600 }, 10),
    verifyWhenStale: read.choice('VERIFY_WHEN_STALE', ['refuse', 'allow'], 'refuse'),
    regionRateLimits: read.choice('REGION_RATE_LIMITS', ['home', 'local'], 'home'),
  }
}

function parseRegionName(found: string): Parsed<string> {
  if (REGION_NAME.test(found)) return { value: found }
  return {
    fault: `must be small letters, digits, dots, dashes or underscores, at most 64 of them, not ${quote(found)}`,
  }
}

/** Settings of which a verifier has no use, since home alone does what they are for. */
const OF_HOME_ALONE = [
  'SECRET_KEY',
  'SECRET_KEY_PREVIOUS',
  'ADMIN_EMAIL',
  'ADMIN_PASSWORD',
  'SETUP_PAGE',
  'SMTP_URL',
  'MAIL_FROM',
  'MAIL_TEMPLATES',
  'EMAIL_VERIFICATION',
]

/** Checks the settings of a verifier together, and adds their faults to `read`. */
export function checkRegion(config: Config, read: Reader): void {
  if (read.text('HOME_URL') === null) read.fault('HOME_URL is needed with MODE verify: where home is')
  if (read.text('DATABASE_URL') === null)
    read.fault('DATABASE_URL is needed with MODE verify: the database that follows home')
  for (const name of OF_HOME_ALONE)
    if (read.text(name) !== null) read.fault(`${name} must not be set with MODE verify: it is home's alone`)
  if (config.algorithm === 'HS256')
    read.fault('ALGORITHM HS256 has no public keys, which MODE verify needs: home must use another one')
  if (config.migrate === 'auto')
    read.fault('MIGRATE must be check with MODE verify: "latchkey migrate --region" migrates a region')
  if (config.homeKey !== null && config.regionName === null)
    read.fault('REGION_NAME is needed with HOME_KEY: home names the region by it')
}

/** What a verifier's settings leave undone, and what another mode does not use. One sentence for each. */
export function warningsOfRegion(config: Config): string[] {
  const { mode, homeUrl, homeKey } = config
  if (mode === 'serve') return homeKey === null ? [] : ['HOME_KEY has no effect without MODE verify']
  const warnings: string[] = []
  if (homeKey === null) {
    warnings.push(
      'HOME_KEY is not set: keys with credits or rates are answered 503, and no usage is sent home',
    )
  }
  const home = homeUrl === null ? null : new URL(homeUrl)
  if (home?.protocol === 'http:' && !isLoopback(home.hostname.replace(/^\[|\]$/g, ''))) {
    warnings.push(`HOME_URL is plain http (${homeUrl}): HOME_KEY can be read on the way; use https`)
  }
  return warnings
}
