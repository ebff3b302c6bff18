import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { call, newPerson } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { adminToken, newClient } from '../support/oauth.ts'
import { allowByForms, newPlainBrowser } from '../support/plain-browser.ts'
import { canConnect } from '../support/proxy.ts'
import { addAppSession, registerApp, registerResource } from '../support/registered-apps.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const APACHE = Bun.which('apache2', { PATH: `${process.env.PATH}:/usr/sbin` })
const MODULES = '/usr/lib/apache2/modules'
const isHere = APACHE !== null && existsSync(`${MODULES}/mod_auth_openidc.so`)
const why = isHere ? '' : ' (skipped: apt-get install libapache2-mod-auth-openidc)'

/** The parts of Apache's own configuration that Debian's files would bring, and patience for a busy machine. */
const around = (port: number) => `
${['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc', 'headers', 'dir']
  .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
  .join('\n')}
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
User www-data
Group www-data
DefaultRuntimeDir .
Mutex file:. default
PidFile apache.pid
ErrorLog error.log
StartServers 1
DocumentRoot site
OIDCHTTPTimeoutShort 60
OIDCHTTPTimeoutLong 60
Header set X-Remote-User "expr=%{REMOTE_USER}"
`

/** The two configurations of docs/openid.md, with these values in place of the page's. */
async function configuration(values: Record<string, string>): Promise<string> {
  const page = await Bun.file(resolve(import.meta.dir, '../../docs/openid.md')).text()
  const blocks = [...page.matchAll(/```apache\n(.*?)```/gs)].map(([, text]) => text ?? '')
  if (blocks.length !== 2) throw new Error('docs/openid.md has no longer two configurations')
  return Object.entries(values).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`docs/openid.md does not say ${from}`)
    return text.replaceAll(from, to)
  }, blocks.join('\n'))
}

describe.skipIf(!isHere)(`mod_auth_openidc of Apache, as docs/openid.md sets it up${why}`, () => {
  const service = useService({ isIssuer: true })
  const sql = useSql(service)
  const person = prepare(() => newPerson(service))
  const admin = prepare(async () => ({ access: await adminToken(service) }))
  let site: string
  let directory: string
  let server: Bun.Subprocess
  const log = async () => {
    const file = Bun.file(join(directory, 'error.log'))
    return (await file.exists()) ? file.text() : ''
  }

  beforeAll(async () => {
    const port = await freePort()
    site = `http://127.0.0.1:${port}`
    const app = await registerApp(service, admin.access, {
      name: 'Wiki',
      kind: 'confidential',
      redirect_uris: [`${site}/private/signed-in`],
      post_logout_redirect_uris: [`${site}/`],
    })
    const account = await newClient(service, admin.access, ['latchkey:introspect'])
    directory = mkdtempSync(join(tmpdir(), 'latchkey-apache-'))
    // Apache serves as another user where root starts it.
    chmodSync(directory, 0o777)
    for (const [name, text] of [
      ['index.html', 'Welcome'],
      ['private/page.html', 'Only for people'],
      ['api/notes.html', 'Only for apps'],
    ] as const) {
      mkdirSync(resolve(directory, 'site', name, '..'), { recursive: true })
      await Bun.write(join(directory, 'site', name), text)
    }
    const text = await configuration({
      'https://auth.example.com': service.url,
      'https://wiki.example.com': site,
      SERVICE_ACCOUNT_ID: account.id,
      API_KEY: account.secret,
      CLIENT_ID: app.id,
      CLIENT_SECRET: app.secret ?? '',
      RANDOM_TEXT: 'for-the-tests-alone',
    })
    await Bun.write(join(directory, 'apache.conf'), around(port) + text)
    server = Bun.spawn([APACHE ?? '', '-d', directory, '-f', 'apache.conf', '-DFOREGROUND'], {
      cwd: directory,
      stdout: 'ignore',
      stderr: Bun.file(join(directory, 'error.log')),
    })
    const isUp = async () => {
      if (server.exitCode !== null) throw new Error(`Apache ended: ${await log()}`)
      return await canConnect(port)
    }
    await until(isUp, 'Apache listens')
  })
  afterAll(async () => {
    server?.kill('SIGTERM')
    await server?.exited
    if (directory) rmSync(directory, { recursive: true })
  })

  test('signs a person in by our pages, knows who it is, and signs them out here and there', async () => {
    const browser = newPlainBrowser()
    const page = await allowByForms(browser, `${site}/private/page.html`, person)
    expect([page.url.href, page.status, page.text]).toEqual([
      `${site}/private/page.html`,
      200,
      'Only for people',
    ])
    expect(page.headers.get('x-remote-user')).toBe(person.id)
    // Signed in, it is shown at once; a stranger comes to the page that asks.
    expect((await browser.open(`${site}/private/page.html`)).text).toBe('Only for people')
    const stranger = await newPlainBrowser().open(`${site}/private/page.html`)
    expect(stranger.url.href).toStartWith(`${service.url}/login?`)

    const over = await browser.open(`${site}/private/signed-in?logout=${encodeURIComponent(`${site}/`)}`)
    expect([over.url.href, over.text]).toEqual([`${site}/`, 'Welcome'])
    const again = await browser.open(`${site}/private/page.html`)
    expect(again.url.href).toStartWith(`${service.url}/login?`)
  })

  test("lets an app's token for its API in, and no other, until the token ends", async () => {
    const app = await registerApp(service, admin.access)
    const ours = await registerResource(service, admin.access, { identifier: `${site}/api` })
    const other = await registerResource(service, admin.access)
    const asBearer = async (bearer: string) =>
      (await fetch(`${site}/api/notes.html`, { headers: { authorization: `Bearer ${bearer}` } })).status
    const session = await addAppSession(service, sql, person.id, app, ours)
    expect(await asBearer(session.access)).toBe(200)
    const elsewhere = await addAppSession(
      service,
      sql,
      person.id,
      { id: (await registerApp(service, admin.access)).id },
      other,
    )
    expect(await asBearer(elsewhere.access)).toBe(401)
    expect(await asBearer(person.access)).toBe(401)
    expect(await asBearer('nonsense')).toBe(401)
    await call(service, 'POST /oauth/revoke', { form: { token: session.access, client_id: app.id } })
    expect(await asBearer(session.access)).toBe(401)
  })
})
