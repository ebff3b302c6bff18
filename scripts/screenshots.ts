/**
 * Takes pictures of every page of the console on a desktop and on a phone, light and dark, with the data of `bun run seed`;
 * and the four of the README, which are in docs/pictures. Needs Chromium.
 *
 *   bun run screenshots                   into ./screenshots
 *   bun run screenshots --to=DIRECTORY
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Page } from 'playwright-core'
import { CHROMIUM } from '../tests/support/chromium.ts'
import { DESKTOP, type Look, launchChromium, openPlace, PHONE, signInto } from '../tests/support/console.ts'
import { freePort } from '../tests/support/free-port.ts'
import { ADMIN_EMAIL, PASSWORD } from './seed/fill.ts'

const ROOT = join(import.meta.dir, '..')
const READY_WITHIN_MS = 30_000
const QUALITY = 82

const LOOKS: Record<string, Look> = {
  'desktop-light': { ...DESKTOP, colorScheme: 'light' },
  'desktop-dark': { ...DESKTOP, colorScheme: 'dark' },
  'phone-light': { ...PHONE, colorScheme: 'light' },
  'phone-dark': { ...PHONE, colorScheme: 'dark' },
}
/** The pictures of the README: a page, and how it is looked at. */
const OF_README: Record<string, string> = {
  overview: 'desktop-light',
  key: 'desktop-dark',
  'all-keys': 'desktop-light',
  user: 'phone-dark',
}

const { values } = parseArgs({ options: { to: { type: 'string', default: join(ROOT, 'screenshots') } } })

type Listed = {
  id: string
  name: string | null
  usage?: number[]
  rate_limit: unknown
  user_id: string | null
}

/** The places of the console, with the ids of a key that is much used, of its owner and of a service account. */
async function placesOf(base: string): Promise<Record<string, string>> {
  const json = { 'content-type': 'application/json' }
  const body = JSON.stringify({ email: ADMIN_EMAIL, password: PASSWORD })
  const signedIn = await fetch(`${base}/auth/login`, { method: 'POST', headers: json, body })
  const { access_token: token } = (await signedIn.json()) as { access_token: string }
  const read = async (path: string) => {
    const answer = await fetch(base + path, { headers: { authorization: `Bearer ${token}` } })
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  const keys = (await read('/keys?all=true&status=active&expand=usage&limit=100')) as Listed[]
  const usesOf = ({ usage = [] }: Listed) => usage.reduce((sum, day) => sum + day, 0)
  const [key] = keys
    .filter(({ user_id }) => user_id !== null)
    .toSorted(
      (a, b) => Number(b.rate_limit !== null) - Number(a.rate_limit !== null) || usesOf(b) - usesOf(a),
    )
  const { items: accounts } = (await read('/service-accounts?limit=1')) as { items: { id: string }[] }
  if (!key || !accounts[0]) throw new Error('The seed has no key or no service account')
  return {
    'my-keys': 'keys',
    'new-key': 'keys/new',
    key: `keys/${key.id}?range=30d`,
    'service-accounts': 'service-accounts',
    'service-account': `service-accounts/${accounts[0].id}`,
    account: 'account',
    overview: 'overview',
    users: 'users',
    user: `users/${key.user_id}`,
    'all-keys': 'all-keys',
    audit: 'audit',
    'signing-keys': 'signing-keys',
    import: 'import',
    mail: 'mail',
    settings: 'settings',
  }
}

/** What fits on the screen, as WebP: a quarter of a PNG. */
async function takePicture(page: Page, file: string): Promise<void> {
  const debugging = await page.context().newCDPSession(page)
  const { data } = await debugging.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY })
  await Bun.write(file, Buffer.from(data, 'base64'))
  await debugging.detach()
}

async function takePictures(base: string): Promise<number> {
  mkdirSync(values.to, { recursive: true })
  const browser = await launchChromium()
  let taken = 0
  try {
    for (const [look, options] of Object.entries(LOOKS)) {
      const { page, context } = await signInto(browser, base, ADMIN_EMAIL, options, PASSWORD)
      for (const [name, place] of Object.entries(await placesOf(base))) {
        await openPlace(page, base, place)
        await takePicture(page, join(values.to, `${name}-${look}.webp`))
        if (OF_README[name] === look) await takePicture(page, join(ROOT, `docs/pictures/${name}.webp`))
        taken += 1
      }
      await context.close()
    }
  } finally {
    await browser.close()
  }
  return taken
}

async function run(program: string[], env: Record<string, string>): Promise<void> {
  const child = Bun.spawn([process.execPath, ...program], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if ((await child.exited) !== 0) throw new Error(`${program.join(' ')} failed`)
}

if (!CHROMIUM) throw new Error('Chromium is missing: apt-get update && apt-get install -y chromium')
const home = mkdtempSync(join(tmpdir(), 'latchkey-screenshots-'))
const base = `http://localhost:${await freePort()}`
const env = {
  PATH: process.env.PATH ?? '',
  DATA_DIR: join(home, 'data'),
  PORT: new URL(base).port,
  PUBLIC_URL: base,
  RATE_LIMITS: 'off',
  LOG_LEVEL: 'error',
}
try {
  await run(['scripts/seed.ts'], env)
  const server = Bun.spawn([process.execPath, 'src/main.ts', 'serve'], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    const end = performance.now() + READY_WITHIN_MS
    while (
      !(await fetch(`${base}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ))
    ) {
      if (server.exitCode !== null || performance.now() > end) throw new Error('The server does not start')
      await Bun.sleep(100)
    }
    process.stdout.write(`${await takePictures(base)} pictures in ${values.to}\n`)
  } finally {
    server.kill()
    await server.exited
  }
} finally {
  rmSync(home, { recursive: true, force: true })
}
