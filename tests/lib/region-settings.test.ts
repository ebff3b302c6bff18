import { describe, expect, test } from 'bun:test'
import { readConfig } from '../../src/config/read.ts'
import type { Environment } from '../../src/config/reader.ts'

const GOOD_KEY = 'pXW0qk3mJr8vNcYtB5sLhUeAzGdFo2i7'
const KEY = 'sk_7mJr8vNcYtB5sLhUeAzGdFo2i7'
/** The least that a verifier needs. */
const VERIFIER = {
  MODE: 'verify',
  DATABASE_URL: 'postgres://localhost/region',
  HOME_URL: 'https://home.example.com',
  PUBLIC_URL: 'https://auth.example.com',
}

const result = (more: Environment) => readConfig({ ...VERIFIER, ...more })
function faultsOf(more: Environment): string[] {
  const read = result(more)
  return 'faults' in read ? read.faults : []
}
function configOf(more: Environment) {
  const read = result(more)
  if ('faults' in read) throw new Error(read.faults.join('\n'))
  return read
}

test('a verifier needs no more than a database, home, and what it shares with home', () => {
  const { config, warnings } = configOf({})
  expect(config).toMatchObject({
    mode: 'verify',
    homeUrl: 'https://home.example.com',
    homeKey: null,
    regionName: null,
    verifyMaxStalenessSeconds: 10,
    verifyWhenStale: 'refuse',
    regionRateLimits: 'home',
    migrate: 'check',
    secretKey: null,
  })
  expect(warnings).toEqual([expect.stringContaining('HOME_KEY is not set')])
  expect(configOf({ HOME_KEY: KEY, REGION_NAME: 'eu-west.1_a' }).warnings).toEqual([])
})

test('another mode is a fault', () => {
  expect(faultsOf({ MODE: 'replica' })[0]).toMatch(/^MODE must be serve or verify/)
})

describe('each fault is told by its name', () => {
  test.each([
    ['HOME_URL', { HOME_URL: '' }],
    ['HOME_URL', { HOME_URL: 'home.example.com' }],
    ['HOME_URL', { HOME_URL: 'https://home.example.com/?a=b' }],
    ['HOME_URL', { HOME_URL: 'https://user:secret@home.example.com' }],
    ['DATABASE_URL', { DATABASE_URL: '' }],
    ['HOME_KEY', { HOME_KEY: 'two words', REGION_NAME: 'eu' }],
    ['HOME_KEY', { HOME_KEY: `${KEY} `, REGION_NAME: 'eu' }],
    ['REGION_NAME', { HOME_KEY: KEY }],
    ['REGION_NAME', { REGION_NAME: 'EU West' }],
    ['REGION_NAME', { REGION_NAME: 'x'.repeat(65) }],
    ['VERIFY_MAX_STALENESS_SECONDS', { VERIFY_MAX_STALENESS_SECONDS: '1' }],
    ['VERIFY_MAX_STALENESS_SECONDS', { VERIFY_MAX_STALENESS_SECONDS: '3601' }],
    ['VERIFY_WHEN_STALE', { VERIFY_WHEN_STALE: 'perhaps' }],
    ['REGION_RATE_LIMITS', { REGION_RATE_LIMITS: 'off' }],
    ['MIGRATE', { MIGRATE: 'auto' }],
    ['SECRET_KEY', { SECRET_KEY: GOOD_KEY }],
    ['SECRET_KEY_PREVIOUS', { SECRET_KEY_PREVIOUS: GOOD_KEY }],
    ['ALGORITHM', { ALGORITHM: 'HS256' }],
    ['SETUP_PAGE', { SETUP_PAGE: 'false' }],
    ['MAIL_TEMPLATES', { MAIL_TEMPLATES: '/etc/mails' }],
  ])('%s: %o', (name, more) => {
    expect(faultsOf(more)).toEqual([expect.stringMatching(new RegExp(`^${name} `))])
  })

  test('also those of settings that belong together', () => {
    const admin = { ADMIN_EMAIL: 'a@example.com', ADMIN_PASSWORD: 'correct-horse' }
    const mail = { SMTP_URL: 'smtp://mail.example.com', MAIL_FROM: 'a@example.com' }
    expect(faultsOf({ ...admin, ...mail }).map((fault) => fault.split(' ')[0])).toEqual([
      'ADMIN_EMAIL',
      'ADMIN_PASSWORD',
      'SMTP_URL',
      'MAIL_FROM',
    ])
  })
})

test('what is allowed at its ends', () => {
  for (const VERIFY_MAX_STALENESS_SECONDS of ['2', '3600'])
    expect(faultsOf({ VERIFY_MAX_STALENESS_SECONDS })).toEqual([])
  for (const ALGORITHM of ['ES256', 'RS256', 'EdDSA'])
    expect(faultsOf({ ALGORITHM, MIGRATE: 'check' })).toEqual([])
  expect(configOf({ VERIFY_WHEN_STALE: 'allow', REGION_RATE_LIMITS: 'local' }).config).toMatchObject({
    verifyWhenStale: 'allow',
    regionRateLimits: 'local',
  })
})

test('HOME_KEY may be a file, is hidden, and its way home should be encrypted', () => {
  const read = readConfig(
    {
      ...VERIFIER,
      HOME_URL: 'http://home.internal',
      HOME_KEY_FILE: '/run/secrets/home-key',
      REGION_NAME: 'eu',
    },
    { readFile: () => ({ text: `${KEY}\n` }) },
  )
  if ('faults' in read) throw new Error(read.faults.join('\n'))
  expect(read.config.homeKey?.reveal()).toBe(KEY)
  expect(JSON.stringify(read.config)).not.toContain(KEY)
  expect(read.warnings).toEqual([expect.stringContaining('HOME_URL is plain http')])
  const loopback = configOf({ HOME_URL: 'http://127.0.0.1:8000', HOME_KEY: KEY, REGION_NAME: 'eu' })
  expect(loopback.warnings).toEqual([])
})

test('home needs none of them, and says that HOME_KEY does nothing there', () => {
  const serving = readConfig({ DATABASE_URL: 'postgres://localhost/a', SECRET_KEY: GOOD_KEY, HOME_KEY: KEY })
  expect('warnings' in serving && serving.warnings).toEqual([
    expect.stringContaining('HOME_KEY has no effect'),
  ])
})
