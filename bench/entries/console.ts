import { type Answer, type Call, call } from '../../tests/support/client.ts'
import { atMost } from '../support/budget.ts'
import type { Entry, Figure, Finding, RunOptions } from '../support/entry.ts'
import { figureOf, median } from '../support/figures.ts'
import { ADMIN, type Latchkey, startLatchkey, verification } from '../support/latchkey.ts'
import { type LoadRequest, putLoad } from '../support/load.ts'
import { makeLargeDatabase } from '../support/postgres.ts'
import { INSTALLATION, type Installation, insertInstallation } from '../support/rows.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** What a page's request, a search and an overview that was computed before may take. */
const PAGE_MS = 300
const SEARCH_MS = 100
const STORED_OVERVIEW_MS = 50
const FIRST_OVERVIEW_MS = 10_000
/** The lists of keys as the console asks for them. */
const SHOWN = 'expand=owner,usage&limit=50'
/** Verifications are paced at about a thousand a second, which a server has time for beside the console. */
const PACED = { connections: 10, pauseMs: 10 }
/** How long a person looks at a page before the next one. */
const LOOKS_FOR_MS = 1_000
/** Backends report how tables were read within this time. */
const STATISTICS_AFTER_MS = 12_000

type Ask = readonly [route: string, options?: Call]
/** What a measurement is about: a page of the console, or a kind of search. */
type Group = { what: string; mostMs: number; asks: readonly Ask[] }

/** Every request of the console's pages, as an admin, with the contents of a large installation. */
export const consolePages: Entry = {
  name: 'console',
  estimateSeconds: ({ rounds, seconds }) => 600 + 2 * rounds * seconds,
  isOnDemand: true,
  async run({ rounds, seconds, ...options }) {
    await using latchkey = await startLatchkey(options, {
      env: { RATE_LIMITS: 'off' },
      isPinned: false,
      database: makeLargeDatabase(),
    })
    const began = performance.now()
    const say = (line: string) =>
      process.stdout.write(`  ${((performance.now() - began) / 1000).toFixed(0)} s: ${line}\n`)
    const installation = await insertInstallation(latchkey, say)
    say('measuring')
    return measureAll(latchkey, installation, { rounds, seconds })
  },
}

async function measureAll(
  latchkey: Latchkey,
  installation: Installation,
  { rounds, seconds }: Pick<RunOptions, 'rounds' | 'seconds'>,
): Promise<Finding[]> {
  const admin = await signIn(latchkey)
  const findings: Finding[] = [...(await measureOverview(admin, rounds))]
  const shapes = await searchesOf(latchkey, installation)
  const scans = await sequentialScans(latchkey)
  const searches: Finding[] = []
  for (const shape of shapes) searches.push(await measure(admin, shape, rounds))
  const after = await sequentialScans(latchkey)
  const scanned = Object.keys(after).filter((table) => after[table] !== scans[table])
  const seqScans = `Seq Scan: ${scanned.length === 0 ? 'none' : scanned.join(', ')}`
  findings.push(...searches.map((each) => ({ ...each, details: [...each.details, seqScans] })))
  const pages = await pagesOf(latchkey, installation)
  for (const group of pages) findings.push(await measure(admin, group, rounds))
  findings.push(await measureVerification(latchkey, admin, installation, pages, { rounds, seconds }))
  return findings
}

/** Asks as the console does: with the session's cookie, and an access token for some minutes. */
type Admin = { ask(ask: Ask): Promise<Answer> }

async function signIn(latchkey: Latchkey): Promise<Admin> {
  const own = { 'sec-fetch-site': 'same-origin' }
  const signedIn = await call(latchkey, 'POST /session', { headers: own, json: ADMIN })
  const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? ''
  const bearer = async () => {
    const answer = await call(latchkey, 'POST /session/token', { headers: { ...own, cookie }, json: {} })
    if (answer.status !== 200) throw new Error(`No token: ${answer.status} ${answer.text}`)
    return String(answer.body.access_token)
  }
  let token = await bearer()
  let takenAt = performance.now()
  return {
    async ask([route, options]) {
      if (performance.now() - takenAt > 60_000) {
        token = await bearer()
        takenAt = performance.now()
      }
      const answer = await call(latchkey, route, { bearer: token, ...options })
      // A statement that takes too long is answered with 503, and is a figure too.
      if (answer.status >= 300 && answer.status !== 503)
        throw new Error(`${route} answered ${answer.status}: ${answer.text}`)
      return answer
    },
  }
}

/** The slowest request of a group, with all of them in the details. */
async function measure(admin: Admin, { what, mostMs, asks }: Group, rounds: number): Promise<Finding> {
  const times = new Map<string, number[]>()
  const failed = new Set<string>()
  for (let round = 0; round < rounds; round++) {
    for (const ask of asks) {
      const started = performance.now()
      if ((await admin.ask(ask)).status === 503) failed.add(ask[0])
      const own = times.get(ask[0]) ?? []
      own.push(performance.now() - started)
      times.set(ask[0], own)
    }
  }
  const figures = [...times].map(([route, own]) => ({ route, figure: figureOf(own) }))
  const [slowest] = figures.toSorted((a, b) => b.figure.middle - a.figure.middle)
  if (!slowest) throw new Error(`${what} asks for nothing`)
  return {
    what: `${what}: the slowest of its requests`,
    unit: 'ms',
    figure: slowest.figure,
    budget: atMost(slowest.figure.middle, mostMs, ' ms'),
    details: figures.map(
      ({ route, figure }) => `${describe(figure)} ${route}${failed.has(route) ? ': 503' : ''}`,
    ),
  }
}

const describe = ({ middle, least, greatest }: Figure) =>
  `${middle.toFixed(0)} ms (${least.toFixed(0)}–${greatest.toFixed(0)})`

async function measureOverview(admin: Admin, rounds: number): Promise<Finding[]> {
  const times: number[] = []
  for (let round = 0; round <= rounds; round++) {
    const started = performance.now()
    await admin.ask(['GET /overview'])
    times.push(performance.now() - started)
  }
  const [first = Number.NaN, ...others] = times
  const [firstFigure, otherFigure] = [figureOf([first]), figureOf(others)]
  return [
    {
      what: '`GET /overview`, the first answer',
      unit: 'ms',
      figure: firstFigure,
      budget: atMost(first, FIRST_OVERVIEW_MS, ' ms'),
      details: [],
    },
    {
      what: '`GET /overview`, the others',
      unit: 'ms',
      figure: otherFigure,
      budget: atMost(otherFigure.middle, STORED_OVERVIEW_MS, ' ms'),
      details: [],
    },
  ]
}

/** How often each table that is searched was read as a whole. */
async function sequentialScans({ sql }: Latchkey): Promise<Record<string, number>> {
  await Bun.sleep(STATISTICS_AFTER_MS)
  const rows = await sql<{ name: string; scans: number }[]>`
    SELECT relname AS name, seq_scan::int AS scans FROM pg_stat_user_tables
    WHERE relname IN ('users', 'service_accounts', 'api_keys', 'api_key_secrets')`
  return Object.fromEntries(rows.map(({ name, scans }) => [name, scans]))
}

async function one<Row>(rows: Promise<readonly Row[]>): Promise<Row> {
  const [row] = await rows
  if (!row) throw new Error('A row is missing')
  return row
}

/** The search in each of its shapes: by frequent and by rare words, by a start, by an owner, by what nothing has. */
async function searchesOf({ sql }: Latchkey, { greatestAccount }: Installation): Promise<Group[]> {
  const { start } = await one(sql<{ start: string }[]>`
    SELECT start FROM latchkey.api_key_secrets WHERE start ~ '^sk_[0-9a-f]{8}$' LIMIT 1`)
  const person = await one(sql<{ id: string; email: string }[]>`
    SELECT id, email FROM latchkey.users WHERE role = 'user' ORDER BY id LIMIT 1 OFFSET 5000`)
  const texts = [
    'production',
    'bil prod',
    'billing production 123456',
    '1234',
    'customer-4',
    'customer-40000',
    'sk_',
    'sk_a',
    start,
    'ada',
    person.email,
    'billing service',
    'billing service 17',
    'nothing-has-this',
    '--',
  ]
  const words = (route: string, own: readonly string[]): Ask[] =>
    own.map((text) => [`GET ${route}query=${encodeURIComponent(text)}`])
  const hash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  return [
    {
      what: '`GET /keys?all=true&query=`',
      mostMs: SEARCH_MS,
      asks: [
        ...words(`/keys?all=true&${SHOWN}&`, texts),
        ...words(`/keys?all=true&status=active&sort=expires_at&${SHOWN}&`, ['production']),
      ],
    },
    {
      what: '`GET /keys?query=` of one owner',
      mostMs: SEARCH_MS,
      asks: [
        ...words(`/keys?user_id=${person.id}&${SHOWN}&`, ['production', 'sk_', 'nothing-has-this']),
        ...words(`/keys?service_account_id=${greatestAccount}&${SHOWN}&`, texts),
      ],
    },
    {
      what: '`GET /users?query=`',
      mostMs: SEARCH_MS,
      asks: words('/users?', ['ada', 'example', 'billing1', person.email, 'nothing-has-this', '--']),
    },
    {
      what: '`GET /service-accounts?query=`',
      mostMs: SEARCH_MS,
      asks: words('/service-accounts?', [
        'service',
        'billing service 17',
        'customer-17',
        'nothing-has-this',
        '--',
      ]),
    },
    {
      what: '`POST /keys/lookup`',
      mostMs: SEARCH_MS,
      asks: [
        ['POST /keys/lookup', { json: { hash } }],
        ['POST /keys/lookup ', { json: { start } }],
      ],
    },
  ]
}

const RANGES = [
  ['24h', 'hour', DAY_MS],
  ['7d', 'hour', 7 * DAY_MS],
  ['30d', 'day', 30 * DAY_MS],
  ['90d', 'day', 90 * DAY_MS],
] as const

/** A chart of each range. */
const charts = (path: string): Ask[] =>
  RANGES.map(([, bucket, length]) => {
    const from = new Date(Math.floor((Date.now() - length) / HOUR_MS) * HOUR_MS).toISOString()
    return [`GET ${path}${path.includes('?') ? '&' : '?'}from=${from}&bucket=${bucket}`]
  })

const STATUSES = ['active', 'expiring', 'unused', 'disabled', 'expired', 'revoked', 'owner_disabled']

async function pagesOf({ sql }: Latchkey, { greatestAccount }: Installation): Promise<Group[]> {
  const key = await one(sql<{ id: string; user_id: string; external_id: string }[]>`
    SELECT id, user_id FROM latchkey.api_keys WHERE name = 'bench' AND user_id IS NOT NULL LIMIT 1`)
  const ofAccount = await one(sql<{ id: string }[]>`
    SELECT id FROM latchkey.api_keys WHERE service_account_id = ${greatestAccount} LIMIT 1`)
  const busy = await one(sql<{ id: string }[]>`SELECT id FROM latchkey.users WHERE email = ${ADMIN.email}`)
  const event = await one(sql<{ request_id: string; at: Date }[]>`
    SELECT request_id, at FROM latchkey.audit_events WHERE action = 'key.revoked' LIMIT 1`)
  const [now, dayAgo, monthAgo] = [0, DAY_MS, 30 * DAY_MS].map((ago) =>
    new Date(Date.now() - ago).toISOString(),
  )
  const page = (what: string, ...asks: readonly Ask[]): Group => ({ what, mostMs: PAGE_MS, asks })
  return [
    page('every page', ['GET /auth/me']),
    page(
      'My keys',
      [`GET /keys?${SHOWN}`],
      ...STATUSES.map((status): Ask => [`GET /keys?status=${status}&${SHOWN}`]),
    ),
    page(
      'Key',
      [`GET /keys/${key.id}`],
      ...charts(`/keys/${key.id}/usage`),
      [`GET /keys/${key.id}/refusals`],
      [`POST /keys/${key.id}/check`, { json: { scopes: ['read'] } }],
      [`GET /keys/${ofAccount.id}`],
      [`GET /audit?target=${key.id}&limit=20`],
      ['GET /auth/activity?limit=100'],
    ),
    page('Service accounts', ['GET /service-accounts'], ['GET /service-accounts?external_id=customer-17']),
    page(
      'Service account',
      [`GET /service-accounts/${greatestAccount}`],
      [`GET /keys?service_account_id=${greatestAccount}&${SHOWN}`],
      ...charts(`/usage?service_account_id=${greatestAccount}`),
      [`GET /audit?target=${greatestAccount}&limit=20`],
      ['POST /keys/revoke', { json: { service_account_id: greatestAccount, dry_run: true } }],
    ),
    page('Account', ['GET /auth/mfa'], ['GET /auth/sessions'], ['GET /auth/activity?limit=20']),
    page('Overview', ...charts('/usage')),
    page('Users', ['GET /users'], ['GET /users?limit=100']),
    page(
      'User',
      [`GET /users/${key.user_id}`],
      [`GET /users/${busy.id}`],
      [`GET /keys?user_id=${key.user_id}&${SHOWN}`],
      [`GET /users/${key.user_id}/sessions`],
      ...charts(`/usage?user_id=${key.user_id}`),
      [`GET /audit?actor=${key.user_id}&limit=20`],
      [`GET /audit?target=${key.user_id}&limit=20`],
      [`GET /audit?actor=${busy.id}&limit=20`],
      ['POST /keys/revoke', { json: { user_id: key.user_id, dry_run: true } }],
    ),
    page(
      'All keys',
      [`GET /keys?all=true&${SHOWN}`],
      [`GET /keys?all=true&sort=expires_at&${SHOWN}`],
      ...STATUSES.map((status): Ask => [`GET /keys?all=true&status=${status}&${SHOWN}`]),
      ...STATUSES.map((status): Ask => [`GET /keys?all=true&status=${status}&sort=expires_at&${SHOWN}`]),
      [`GET /keys?all=true&expires_before=${now}&${SHOWN}`],
      [`GET /keys?all=true&unused_since=${monthAgo}&${SHOWN}`],
      [`GET /keys?all=true&external_id=customer-40000&${SHOWN}`],
    ),
    page(
      'Audit',
      ['GET /audit'],
      [`GET /audit?actor=${busy.id}`],
      [`GET /audit?target=${key.id}`],
      ['GET /audit?action=user.login'],
      ['GET /audit?action=user.locked'],
      ['GET /audit?outcome=refused'],
      [`GET /audit?request_id=${event.request_id}`],
      ['GET /audit?request_id=0123456789ab-000000'],
      [`GET /audit?from=${dayAgo}&to=${now}`],
      [`GET /audit?action=key.revoked&outcome=success&from=${monthAgo}&to=${dayAgo}`],
      [`GET /audit?actor=${busy.id}&action=user.login`],
      [`GET /audit?actor=${busy.id}&action=user.login&outcome=refused`],
      [`GET /audit?actor=${busy.id}&outcome=refused`],
      [`GET /audit?action=key.revoked&outcome=refused`],
    ),
    page('Signing keys', ['GET /signing-keys']),
    page('Mail', ...['waiting', 'failed', 'sent'].map((status): Ask => [`GET /mails?status=${status}`])),
    page('Settings', ['GET /instance']),
  ]
}

/** The p99 of verification while an admin opens the pages, against the p99 without. */
async function measureVerification(
  latchkey: Latchkey,
  admin: Admin,
  { usedKeys }: Installation,
  pages: readonly Group[],
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Finding> {
  const requests: LoadRequest[] = usedKeys.map((key) => verification(latchkey, key))
  await putLoad(latchkey.url, requests, seconds)
  const alone: number[] = []
  const beside: number[] = []
  let looked = 0
  for (let round = 0; round < rounds; round++) {
    alone.push((await putLoad(latchkey.url, requests, seconds, PACED)).p99Ms)
    let isOver = false
    const looking = (async () => {
      for (let at = round; !isOver; at++) {
        looked++
        await Promise.all(pages[at % pages.length]?.asks.slice(0, 4).map((ask) => admin.ask(ask)) ?? [])
        await Bun.sleep(LOOKS_FOR_MS)
      }
    })()
    beside.push((await putLoad(latchkey.url, requests, seconds, PACED)).p99Ms)
    isOver = true
    await looking
    latchkey.forgetOutput()
  }
  const figure = figureOf(beside.map((p99, round) => p99 / (alone[round] ?? Number.NaN)))
  return {
    what: `verification's p99 while a person looks at a page a second, against the p99 without; ${INSTALLATION.keys} keys`,
    unit: 'ratio',
    figure,
    budget: atMost(figure.middle, 1.1),
    details: [
      `p99 ${median(alone).toFixed(2)} ms, meanwhile ${median(beside).toFixed(2)} ms; ${looked} pages`,
    ],
  }
}
