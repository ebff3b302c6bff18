import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { type RunningProgram, startProgram } from '../support/binary.ts'
import { ask, signIn } from '../support/browser.ts'
import { call, newKey, newPerson, type Person } from '../support/client.ts'
import { verifierKey } from '../support/latchkey-client.ts'
import { adminToken, newClient } from '../support/oauth.ts'
import { NGINX, startProxy } from '../support/proxy.ts'
import { registerApp, registerResource } from '../support/registered-apps.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

const root = resolve(import.meta.dir, '../..')

/** Starts an example like its README. */
const startExample = (path: string, env: Record<string, string>) =>
  startProgram([process.execPath, join('examples', path)], { cwd: root, env })

let service: TestService
let person: Person
let api: RunningProgram
beforeAll(async () => {
  service = await startService({ isIssuer: true, trustedProxies: ['127.0.0.1/32'] })
  person = await newPerson(service)
  api = await startExample('elysia-api/server.ts', {
    LATCHKEY_URL: service.url,
    LATCHKEY_KEY: await verifierKey(service),
  })
})
afterAll(async () => {
  await api.end('SIGTERM')
  await service.stop()
})

test('elysia-api: a user writes, a key with "read" reads, and other requests are refused', async () => {
  const reader = (await newKey(service, person.access, { scopes: 'read' })).key
  const json = { text: 'hello' }
  const written = await call(api, 'POST /notes', { bearer: person.access, json })
  expect([written.status, written.body]).toEqual([201, { text: 'hello', by: person.id }])
  expect((await call(api, 'GET /notes', { apiKey: reader })).body).toEqual([written.body])
  expect((await call(api, 'GET /me', { bearer: person.access })).body).toEqual({
    id: person.id,
    role: 'user',
  })

  expect((await call(api, 'POST /notes', { apiKey: reader, json })).status).toBe(403)
  expect((await call(api, 'GET /notes')).status).toBe(401)
  expect((await call(api, 'DELETE /notes', { bearer: person.access })).status).toBe(403)
  expect((await call(api, 'DELETE /notes', { bearer: await adminToken(service) })).status).toBe(200)
})

test('customer-portal: the frame is sent to a portal session of the customer', async () => {
  const admin = await adminToken(service)
  const json = { name: 'Globex', scopes: ['read'] }
  const account = (await call(service, 'POST /service-accounts', { bearer: admin, json })).body.id
  const { key, id } = await newKey(service, admin, { scopes: ['read', 'latchkey:portal'] })
  await using product = await startExample('customer-portal/server.ts', {
    LATCHKEY_URL: service.url,
    LATCHKEY_KEY: key,
    CUSTOMER_ACCOUNT: account,
    PORT: '0',
  })
  expect((await call(product, 'GET /')).text).toContain('<iframe src="/api-keys"')
  const sent = await call(product, 'GET /api-keys')
  const [page, token] = sent.headers.get('location')?.split('#') ?? []
  expect([sent.status, page]).toEqual([303, `${service.url}/portal`])
  const { body } = await call(service, 'POST /portal/exchange', { json: { token } })
  expect([body.owner.id, body.scopes, body.may]).toEqual([
    account,
    ['read'],
    ['read', 'create', 'rotate', 'revoke'],
  ])
  await call(service, `DELETE /keys/${id}`, { bearer: admin })
  expect((await call(product, 'GET /api-keys')).status).toBe(502)
})

describe('cron-service-account', () => {
  test('the job uses one token for several calls, and is refused once its key is revoked', async () => {
    const account = await newClient(service, await adminToken(service), ['read'])
    const child = Bun.spawn([process.execPath, 'examples/cron-service-account/job.ts'], {
      cwd: root,
      env: {
        LATCHKEY_URL: service.url,
        API_URL: api.url,
        CLIENT_ID: account.id,
        CLIENT_SECRET: account.secret,
        EVERY_SECONDS: '0.1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said: string[] = []
    const read = async (stream: ReadableStream<Uint8Array>) => {
      const decoder = new TextDecoder()
      for await (const chunk of stream) said.push(...decoder.decode(chunk).trim().split('\n'))
    }
    const reading = Promise.all([read(child.stdout), read(child.stderr)])
    try {
      await until(() => said.length >= 3, 'three rounds')
      expect(new Set(said)).toEqual(new Set([expect.stringMatching(/^Notes: \d$/)]))
      const tokens = service.logged().filter((line) => JSON.stringify(line).includes('/oauth/token'))
      expect(tokens).toHaveLength(1)

      await call(service, `DELETE /keys/${account.keyId}`, { bearer: await adminToken(service) })
      await until(() => said.includes('No token: 401'), 'the key is dead')
      expect(said).toContain('No notes: 401')
    } finally {
      child.kill()
      await reading
    }
  }, 240_000)
})

describe('device-login', () => {
  const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

  test('the tool waits for the phone, calls the API, and needs no code the next time', async () => {
    const admin = await adminToken(service)
    const keys = createRemoteJWKSet(new URL(`${service.url}/.well-known/jwks.json`))
    await using notes = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      async fetch({ headers }) {
        const token = headers.get('authorization')?.slice('Bearer '.length) ?? ''
        const { payload } = await jwtVerify(token, keys, { audience: resource.identifier, typ: 'at+jwt' })
        return new Response(`${payload.sub} ${payload.scope}`)
      },
    })
    const resource = await registerResource(service, admin, { identifier: `http://127.0.0.1:${notes.port}/` })
    const app = await registerApp(service, admin, { redirect_uris: [], grants: [DEVICE, 'refresh_token'] })
    const { cookie } = await signIn(service, person)
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-device-'))
    const file = join(folder, 'token')
    const start = () =>
      Bun.spawn([process.execPath, 'examples/device-login/login.ts'], {
        cwd: root,
        env: {
          LATCHKEY_URL: service.url,
          CLIENT_ID: app.id,
          RESOURCE: resource.identifier,
          TOKEN_FILE: file,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
    try {
      const tool = start()
      let said = ''
      const reading = (async () => {
        const decoder = new TextDecoder()
        for await (const chunk of tool.stdout) said += decoder.decode(chunk)
      })()
      await until(() => /type \w{4}-\w{4}/.test(said), 'the code is shown')
      const [, user_code = ''] = /type (\w{4}-\w{4})/.exec(said) ?? []
      const page = await ask(service, 'POST /device', { form: { user_code }, headers: { cookie } })
      const [, request = ''] = /name="request" value="([^"]+)"/.exec(page.text) ?? []
      const form = { request, decision: 'allow', 'scope.read': 'on' }
      expect((await ask(service, 'POST /device/answer', { form, headers: { cookie } })).status).toBe(200)
      expect(await tool.exited).toBe(0)
      await reading
      expect(said).toContain(`200 ${person.id} read`)
      expect((await stat(file)).mode & 0o777).toBe(0o600)
      const again = start()
      expect(await again.exited).toBe(0)
      expect(await new Response(again.stdout).text()).toBe(`200 ${person.id} read\n`)
    } finally {
      await rm(folder, { recursive: true })
    }
  }, 240_000)
})

describe.skipIf(!NGINX)(`express-nginx${NGINX ? '' : ' (skipped: apt-get install nginx)'}`, () => {
  const portOf = ({ url }: { url: string }) => Number(new URL(url).port)

  test('nginx authorizes by the recipe, and the application gets the caller', async () => {
    await using app = await startExample('express-nginx/server.ts', {})
    const nginxConf = await Bun.file(join(root, 'examples/express-nginx/nginx.conf')).text()
    const proxy = await startProxy(
      {
        program: 'nginx',
        config: 'nginx.conf',
        files: { 'nginx.conf': nginxConf },
        changes: [['listen 80 ', (port) => `listen 127.0.0.1:${port} `]],
      },
      portOf(service),
      portOf(app),
    )
    try {
      const { id, key } = await newKey(service, person.access, { scopes: 'write' })
      const get = (path: string, options: Parameters<typeof call>[2] = {}) =>
        call(proxy, `GET ${path}`, options)
      const forged = { 'x-auth-subject': 'somebody', 'x-auth-type': 'user' }
      expect((await get('/public/hello')).body).toEqual({ hello: 'world' })
      expect((await get('/me', { bearer: person.access, headers: forged })).body).toEqual({
        type: 'user',
        id: person.id,
        scopes: ['read', 'write'],
      })
      expect((await get('/me', { apiKey: key, headers: forged })).body).toEqual({
        type: 'key',
        id: person.id,
        scopes: ['write'],
      })
      expect((await get('/reports/daily', { bearer: person.access })).body).toMatchObject({ for: person.id })
      const admin = await adminToken(service)
      expect((await get('/admin/settings', { bearer: admin })).status).toBe(200)

      expect((await get('/me', { headers: forged })).status).toBe(401)
      expect((await get('/reports/daily', { apiKey: key })).status).toBe(403)
      expect((await get('/admin/settings', { bearer: person.access })).status).toBe(403)
      await call(service, `DELETE /keys/${id}`, { bearer: person.access })
      expect((await get('/me', { apiKey: key })).status).toBe(401)
    } finally {
      await proxy.stop()
    }
  })
})
