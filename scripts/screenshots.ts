/**
 * Takes pictures of every page of the console, of the portal and of sign-in, on a desktop and on a phone, light and dark,
 * with the data of `bun run seed`; and the four of the README, which are in docs/pictures. Needs Chromium.
 *
 *   bun run screenshots                   into ./screenshots
 *   bun run screenshots --to=DIRECTORY
 *   bun run screenshots --whole           the whole height of each page, for the eye
 *   bun run screenshots --hostile         with names that are hard to show, and without the pictures of the README
 *   bun run screenshots key user          some pages
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Page } from 'playwright-core'
import { CHROMIUM, launchChromium } from '../tests/support/chromium.ts'
import { DESKTOP, type Look, openPlace, PHONE, settle, signInByPage } from '../tests/support/console.ts'
import { freePort } from '../tests/support/free-port.ts'
import { ADMIN_EMAIL, PASSWORD } from './seed/fill.ts'

const ROOT = join(import.meta.dir, '..')
const READY_WITHIN_MS = 30_000
const QUALITY = 82
/** A WebP is no higher. */
const MAX_HEIGHT = 16_000

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

/** Markup, a direction, an emoji, and as long as a name may be. */
const HOSTILE = `<img src=x onerror=alert(1)> \u202Egnp.exe 🔑 شركة ${'a'.repeat(60)}`.slice(0, 100)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    to: { type: 'string', default: join(ROOT, 'screenshots') },
    whole: { type: 'boolean', default: false },
    hostile: { type: 'boolean', default: false },
  },
})
const isWanted = (name: string) =>
  positionals.length === 0 ||
  positionals.some((each) => name === each || (name.startsWith(`${each}-`) && each === 'portal'))

type Listed = {
  id: string
  name: string | null
  usage?: number[]
  rate_limit: unknown
  user_id: string | null
}

/** Asks the API as the admin. */
async function asAdmin(base: string): Promise<(route: string, json?: object) => Promise<unknown>> {
  const send = async (route: string, json?: object, token?: string) => {
    const [method = '', path = ''] = route.split(' ')
    const headers = {
      ...(json && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` }),
    }
    const answer = await fetch(base + path, { method, headers, body: json ? JSON.stringify(json) : null })
    if (!answer.ok) throw new Error(`${route}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? null : answer.json()
  }
  const signedIn = await send('POST /auth/login', { email: ADMIN_EMAIL, password: PASSWORD })
  const { access_token: token } = signedIn as { access_token: string }
  return (route, json) => send(route, json, token)
}

/** The places of the console, with the ids of a key that is much used, of its owner and of a service account. */
async function placesOf(
  base: string,
): Promise<Record<string, string> & Record<'key' | 'service-account', string>> {
  const ask = await asAdmin(base)
  const read = (path: string) => ask(`GET ${path}`)
  const keys = (await read('/keys?all=true&status=active&expand=usage&limit=100')) as Listed[]
  const usesOf = ({ usage = [] }: Listed) => usage.reduce((sum, day) => sum + day, 0)
  const [key] = keys
    .filter(({ user_id }) => user_id !== null)
    .toSorted(
      (a, b) => Number(b.rate_limit !== null) - Number(a.rate_limit !== null) || usesOf(b) - usesOf(a),
    )
  const { items: accounts } = (await read('/service-accounts?limit=1')) as { items: { id: string }[] }
  const { items: apps } = (await read('/oauth/clients?limit=1')) as { items: { id: string }[] }
  const { items: apis } = (await read('/resources?limit=1')) as { items: { id: string }[] }
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
    apps: 'apps',
    'new-app': 'apps/new',
    app: `apps/${apps[0]?.id}`,
    apis: 'apis',
    api: `apis/${apis[0]?.id}`,
    'signing-keys': 'signing-keys',
    import: 'import',
    mail: 'mail',
    settings: 'settings',
  }
}

/** Registers an API and apps, which the seed leaves out: they depend on where the instance is. */
async function registerApps(base: string): Promise<void> {
  const ask = await asAdmin(base)
  const name = (plain: string) => (values.hostile ? HOSTILE : plain)
  await ask('POST /resources', {
    identifier: 'https://notes.example.com/mcp',
    name: name('Notes'),
    slug: 'notes',
    scopes: [
      { name: 'notes.read', description: 'Read your notes' },
      { name: 'notes.write', description: 'Write notes for you' },
      { name: 'notes.purge', description: 'Delete notes for good', grantable_by: 'ceiling' },
    ],
  })
  const grants = ['authorization_code', 'refresh_token']
  for (const [app, redirect] of [
    ['Command line', 'http://localhost/callback'],
    ['Status page', 'https://status.example.com/callback'],
    ['Notebook', 'https://notebook.example.com/callback'],
  ] as const)
    await ask('POST /oauth/clients', {
      name: name(app),
      kind: app === 'Command line' ? 'public' : 'confidential',
      redirect_uris: [redirect],
      grants,
      ...(app === 'Notebook' && { scopes: 'notes.read notes.write' }),
    })
}

/** Gives names that are hard to show to what the pictures show. */
async function renameAll(base: string): Promise<void> {
  const ask = await asAdmin(base)
  const places = await placesOf(base)
  const keys = (await ask('GET /keys?all=true&status=active&limit=12')) as Listed[]
  const own = (await ask('GET /keys?status=active&limit=3')) as Listed[]
  const shown = places.key.replace('?range=30d', '').replace('keys/', '')
  for (const id of [shown, ...[...keys, ...own].map((key) => key.id)])
    await ask(`PATCH /keys/${id}`, {
      name: HOSTILE,
      description: HOSTILE,
      external_id: HOSTILE,
      metadata: { [HOSTILE]: HOSTILE },
    })
  await ask(`PATCH /${places['service-account']}`, {
    name: HOSTILE,
    description: HOSTILE,
    external_id: HOSTILE,
  })
}

/** What fits on the screen, or the whole page, as WebP: a quarter of a PNG. */
async function takePicture(page: Page, file: string, isWhole = values.whole): Promise<void> {
  const debugging = await page.context().newCDPSession(page)
  const { data } = await debugging.send('Page.captureScreenshot', {
    format: 'webp',
    quality: QUALITY,
    captureBeyondViewport: isWhole,
    ...(isWhole && { clip: await sizeOf(page) }),
  })
  await Bun.write(file, Buffer.from(data, 'base64'))
  await debugging.detach()
}

async function sizeOf(page: Page) {
  const height = await page.evaluate<number>('document.documentElement.scrollHeight')
  return {
    x: 0,
    y: 0,
    width: page.viewportSize()?.width ?? 0,
    height: Math.min(height, MAX_HEIGHT),
    scale: 1,
  }
}

/** The pages of those who are not signed in. */
const SIGN_IN: Record<string, string> = {
  login: 'login',
  signup: 'signup',
  'forgot-password': 'forgot-password',
  'reset-password': 'reset-password?token=of-nobody',
  'logged-out': 'logged-out',
}

async function takePictures(base: string): Promise<number> {
  mkdirSync(values.to, { recursive: true })
  const browser = await launchChromium()
  let taken = 0
  const take = async (page: Page, name: string, look: string) => {
    if (!isWanted(name)) return
    await takePicture(page, join(values.to, `${name}-${look}.webp`))
    taken += 1
  }
  try {
    for (const [look, options] of Object.entries(LOOKS)) {
      const { page, context } = await signInByPage(browser, base, ADMIN_EMAIL, options, PASSWORD)
      for (const [name, place] of Object.entries(await placesOf(base))) {
        if (!isWanted(name)) continue
        await openPlace(page, base, place)
        await take(page, name, look)
        if (OF_README[name] === look && !values.hostile)
          await takePicture(page, join(ROOT, `docs/pictures/${name}.webp`), false)
      }
      await context.close()
      const stranger = await browser.newContext({ ...options, reducedMotion: 'reduce' })
      const page2 = await stranger.newPage()
      for (const [name, place] of Object.entries(SIGN_IN)) {
        if (!isWanted(name)) continue
        await page2.goto(`${base}/${place}`)
        await take(page2, name, look)
      }
      if (isWanted('portal')) await takePortal(page2, base, (name) => take(page2, name, look))
      await stranger.close()
    }
  } finally {
    await browser.close()
  }
  return taken
}

/** The portal of a service account: the link, its keys, and a new one. */
async function takePortal(page: Page, base: string, take: (name: string) => Promise<void>): Promise<void> {
  const ask = await asAdmin(base)
  const account = (await placesOf(base))['service-account'].replace('service-accounts/', '')
  const may = ['create', 'rotate', 'revoke']
  const made = await ask('POST /portal/sessions', { service_account_id: account, scopes: 'read write', may })
  await page.goto((made as { url: string }).url)
  await page.getByRole('button', { name: 'Continue' }).waitFor()
  await take('portal')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('button', { name: 'New key' }).waitFor()
  await settle(page)
  await take('portal-keys')
  await page.getByRole('button', { name: 'New key' }).click()
  await take('portal-new-key')
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
    await registerApps(base)
    if (values.hostile) await renameAll(base)
    process.stdout.write(`${await takePictures(base)} pictures in ${values.to}\n`)
  } finally {
    server.kill()
    await server.exited
  }
} finally {
  rmSync(home, { recursive: true, force: true })
}
