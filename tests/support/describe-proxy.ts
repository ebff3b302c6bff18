import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import type postgres from 'postgres'
import { IDENTITY_HEADERS } from '../../src/api/forward-auth/identity.ts'
import { catalogue, type ErrorCode } from '../../src/lib/errors.ts'
import { AMBIGUOUS, readTolerantly } from './ambiguous-targets.ts'
import { addResource } from './app-tokens.ts'
import { call, newKey } from './client.ts'
import { freePort } from './free-port.ts'
import { dial, sendRaw, type WireAnswer } from './http-socket.ts'
import { addLoggedIn, connectTo } from './people.ts'
import { aliasesOf, type RunningProxy, type Seen, startUpstream, type Upstream } from './proxy.ts'
import { startService, type TestService } from './service.ts'
import { listenOnTcp } from './tcp.ts'

/** Starts the proxy in front of an application, with Latchkey at a port. */
export type StartProxy = (latchkey: number, app: number) => Promise<RunningProxy>

const PUBLIC = ['/public/', '/public/a', '/public/a/b?c=d']

/** The tests that every recipe of deploy/ must pass, whatever the proxy. */
export function describeProxy(name: string, skip: boolean, start: StartProxy): void {
  describe.skipIf(skip)(name, () => {
    let service: TestService
    let sql: postgres.Sql
    let upstream: Upstream
    let proxy: RunningProxy
    const bearers: Record<string, string> = {}
    let owner: { id: string; access: string }
    const portOf = ({ url }: { url: string }) => Number(new URL(url).port)

    beforeAll(async () => {
      service = await startService({ trustedProxies: ['127.0.0.1/32'], databaseStatementTimeoutMs: 1500 })
      sql = connectTo(service)
      upstream = await startUpstream()
      proxy = await start(portOf(service), upstream.port)
      owner = await addLoggedIn(service, sql)
      const admin = await addLoggedIn(service, sql, { role: 'admin' })
      const reader = await newKey(service, owner.access, { scopes: 'read' })
      const worker = await newKey(service, owner.access, { scopes: 'read,write' })
      Object.assign(bearers, {
        user: owner.access,
        admin: admin.access,
        reader: reader.key,
        worker: worker.key,
      })
    })
    afterAll(async () => {
      await proxy?.stop()
      upstream?.close()
      await sql?.end()
      await service?.stop()
    })

    const bearing = (who: string) => [`Authorization: Bearer ${bearers[who]}`]
    const through = (startLine: string, headers: readonly string[] = [], body = '', at = proxy) =>
      sendRaw(at, startLine, headers, body)
    /** The answer, and what the application received of the request. */
    async function pass(startLine: string, headers: readonly string[] = [], body = '', at = proxy) {
      const before = upstream.seen.length
      const answer = await through(startLine, headers, body, at)
      return { answer, seen: upstream.seen.slice(before) }
    }
    const headerOf = ({ head }: WireAnswer, name: string) =>
      new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim() ?? null
    const expectRefusal = (answer: WireAnswer, status: number) => {
      expect([answer.status, headerOf(answer, 'content-type')]).toEqual([status, 'application/problem+json'])
      const problem = JSON.parse(answer.body)
      expect(problem).toMatchObject({ status, title: expect.any(String), detail: expect.any(String) })
      expect(problem.type).toBe(`/errors/${problem.code}`)
      expect<number>(catalogue[problem.code as ErrorCode][0]).toBe(status)
      expect(problem.request_id).toBe(headerOf(answer, 'x-request-id'))
      expect(headerOf(answer, 'cache-control')).toBe('no-store')
    }
    const identityOf = ({ headers }: Seen) =>
      Object.fromEntries(
        IDENTITY_HEADERS.map((each) => [each, headers.get(each.toLowerCase())?.join() ?? '']),
      )

    test('the metadata of a resource are at the place where its clients look, for anybody', async () => {
      const { identifier } = await addResource(sql, ['read'], { slug: 'api' })
      const answer = await through('GET /.well-known/oauth-protected-resource')
      expect(answer.status).toBe(200)
      expect(JSON.parse(answer.body)).toMatchObject({ resource: identifier, scopes_supported: ['read'] })
      expect((await through('GET /.well-known/oauth-protected-resource/api')).status).toBe(401)
    })

    describe('whom the policy of a path names', () => {
      test.each<[path: string, who: string, status: number]>([
        ...PUBLIC.map((path): [string, string, number] => [path, 'nobody', 200]),
        ['/public/a', 'user', 200],
        ['/', 'nobody', 401],
        ['/', 'user', 200],
        ['/else/where?a=b', 'reader', 200],
        ['/publicity', 'nobody', 401],
        ['/reports', 'nobody', 401],
        ['/reports/1', 'nobody', 401],
        ['/reports', 'reader', 200],
        ['/reports/1?x=%2f..', 'reader', 200],
        ['/reports/1', 'user', 200],
        ['/REPORTS/1', 'nobody', 401],
        ['/jobs/1', 'reader', 403],
        ['/Jobs/1', 'reader', 403],
        ['/jobs', 'user', 403],
        ['/jobs/1', 'worker', 200],
        ['/admin', 'user', 403],
        ['/admin/', 'worker', 403],
        ['/admin/users', 'admin', 200],
        ['/ADMIN/users', 'user', 403],
        ['/administration', 'user', 200],
        ['/latchkey/any', 'nobody', 401],
      ])('%s, %s: %i', async (path, who, status) => {
        for (const method of ['GET', 'POST', 'DELETE']) {
          const body = method === 'POST' ? ['Content-Length: 0'] : []
          const { answer, seen } = await pass(
            `${method} ${path}`,
            who === 'nobody' ? body : [...bearing(who), ...body],
          )
          // The names that nginx uses for its internal requests cannot be requested from outside.
          expect([
            method,
            path.startsWith('/latchkey') && answer.status === 404 ? 401 : answer.status,
          ]).toEqual([method, status])
          expect(seen.map(({ startLine }) => startLine)).toEqual(
            status === 200 ? [`${method} ${path} HTTP/1.1`] : [],
          )
        }
      })

      test('is who Latchkey says, in every header', async () => {
        for (const who of ['user', 'reader', 'worker', 'admin']) {
          const asked = await call(service, 'GET /forward-auth', { bearer: bearers[who] ?? '' })
          const expected = Object.fromEntries(
            IDENTITY_HEADERS.map((each) => [each, asked.headers.get(each) ?? '']),
          )
          const { seen } = await pass('GET /x', bearing(who))
          expect([who, seen.map(identityOf)]).toEqual([who, [expected]])
          const byHeader = await pass('GET /x', [`X-API-Key: ${bearers[who]}`])
          expect(byHeader.seen.map(identityOf)).toEqual(who === 'user' || who === 'admin' ? [] : [expected])
        }
      })

      test('with the name and the external id of its key, of whatever characters, and never those of the client', async () => {
        const admin = bearers.admin ?? ''
        const account = { name: 'customer', scopes: ['read'] }
        const { id } = (await call(service, 'POST /service-accounts', { bearer: admin, json: account })).body
        const customer = 'Zoë 100% / "ключ" 🔑, \\ +'
        await call(service, `PATCH /service-accounts/${id}`, {
          bearer: admin,
          json: { external_id: customer },
        })
        const name = ` a, b;c=%41 é ${'🔑'.repeat(40)}`
        const own = 'own-id ü'
        const of = async (json: object) =>
          (await newKey(service, admin, { scopes: 'read', service_account_id: id, ...json })).key
        const forged = ['X-Auth-Key-Name: forged', 'X-Auth-External-Id: forged', 'x-auth-external-id: again']
        for (const [key, expected] of [
          [await of({ name }), [name, customer]],
          [await of({ name, external_id: own }), [name, own]],
          [await of({}), ['', customer]],
          [bearers.reader ?? '', ['', '']],
          [admin, ['', '']],
        ] as const) {
          const { seen } = await pass('GET /x', [`Authorization: Bearer ${key}`, ...forged])
          const identity = seen.map(identityOf)[0]
          expect(
            [identity?.['X-Auth-Key-Name'], identity?.['X-Auth-External-Id']].map((text) =>
              decodeURIComponent(text ?? 'none'),
            ),
          ).toEqual([...expected])
          for (const text of Object.values(identity ?? {})) expect(text).toMatch(/^[ -~]*$/)
        }
        for (const [path, headers] of [
          ['/public/x', forged],
          ['/public/x', ['X_Auth_Key_Name: forged', 'X-Auth_External_Id: forged']],
        ] as const) {
          const { seen } = await pass(`GET ${path}`, headers)
          // Envoy and others may refuse the second one: what gets through carries nothing.
          for (const { headers } of seen) expect([...headers.values()].flat().join()).not.toContain('forged')
        }
      })

      test('a 401 tells how to log in', async () => {
        expect(headerOf((await pass('GET /')).answer, 'www-authenticate')).toBe('Bearer realm="latchkey"')
        for (const headers of [
          ['Authorization: Bearer garbage'],
          ['Authorization: Basic eDp5'],
          [...bearing('user'), `X-API-Key: ${bearers.reader}`],
        ]) {
          const { answer, seen } = await pass('GET /', headers)
          expect([headers, answer.status, seen]).toEqual([headers, 401, []])
          expect(headerOf(answer, 'www-authenticate')).toBe('Bearer realm="latchkey", error="invalid_token"')
        }
      })

      test('and a key that has as much to say of itself as a key can', async () => {
        const scopes = Array.from({ length: 50 }, (_, i) => `scope-${i}-`.padEnd(64, 'x'))
        const email = `${'é'.repeat(240)}@example.com`
        const { id, access } = await addLoggedIn(service, sql, { role: 'admin', email })
        await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${id}`
        const { key } = await newKey(service, access, { scopes })
        const { answer, seen } = await pass('GET /', [`X-API-Key: ${key}`])
        expect([answer.status, seen[0]?.headers.get('x-auth-scopes')]).toEqual([200, [scopes.join(' ')]])
        expect(seen[0]?.headers.get('x-auth-user-email')).toEqual([
          encodeURIComponent(email).replace('%40', '@'),
        ])
      })
    })

    describe('what a client says of itself', () => {
      const FORGED = 'forged-by-the-client'

      test('under the name of an identity header, or one that is taken for it, does not arrive', async () => {
        const names = IDENTITY_HEADERS.flatMap(aliasesOf)
        expect(names).toHaveLength(84)
        const spellings = names.flatMap((each) => [each, each.toLowerCase(), each.toUpperCase()])
        for (const [path, headers] of [
          ['/x', bearing('reader')],
          ['/reports/x', bearing('user')],
          ['/admin/x', bearing('admin')],
          ['/public/x', []],
          ['/public/x', bearing('admin')],
        ] as const) {
          for (const batch of [spellings.slice(0, 60), spellings.slice(60, 120), spellings.slice(120)]) {
            const forged = batch.flatMap((each) => [`${each}: ${FORGED}`, `${each}: admin`])
            const { seen } = await pass(`GET ${path}`, [...forged, ...headers, ...forged])
            expect([path, seen.length]).toEqual([path, 1])
            const arrived = [...(seen[0]?.headers ?? [])].filter(([each]) => /^x[-_]auth/.test(each))
            expect(arrived.filter(([each]) => each.includes('_'))).toEqual([])
            expect(JSON.stringify(arrived)).not.toContain(FORGED)
            expect(arrived.every(([, values]) => values.length === 1)).toBe(true)
            const isAdmin = path === '/admin/x'
            expect(seen[0]?.headers.get('x-auth-role')?.join() ?? '').toBe(
              isAdmin ? 'admin' : path === '/reports/x' ? 'user' : '',
            )
            if (path === '/public/x') expect(Object.values(identityOf(seen[0] as Seen)).join('')).toBe('')
          }
        }
      })

      test('cannot take away what Latchkey said', async () => {
        const lines = IDENTITY_HEADERS.map((each) => each).join(', ')
        for (const connection of [
          `Connection: ${lines}`,
          `Connection: close, ${lines}`,
          `connection: x-auth-role`,
        ]) {
          const { seen } = await pass('GET /x', [...bearing('admin'), connection])
          for (const each of seen) expect(identityOf(each)['X-Auth-Role']).toBe('admin')
        }
      })

      test('of its address is not believed', async () => {
        const allowed_ips = ['192.0.2.0/24', '127.0.0.2']
        const { key } = await newKey(service, owner.access, { allowed_ips })
        for (const forged of [
          [],
          ['X-Forwarded-For: 192.0.2.9'],
          ['X-Forwarded-For: 192.0.2.9', 'X-Forwarded-For: 192.0.2.9'],
          ['X-Forwarded-For: 192.0.2.9, 127.0.0.1', 'X-Real-IP: 192.0.2.9', 'Forwarded: for=192.0.2.9'],
        ]) {
          const { answer, seen } = await pass('GET /x', [`X-API-Key: ${key}`, ...forged])
          expect([forged, answer.status, seen]).toEqual([forged, 403, []])
        }
        expect(await statusFrom('127.0.0.2', ['GET /x HTTP/1.1', `X-API-Key: ${key}`])).toBe(200)
        expect(await statusFrom('127.0.0.3', ['GET /x HTTP/1.1', `X-API-Key: ${key}`])).toBe(403)
      })

      /** The answer to a request from another address of this machine. */
      function statusFrom(localAddress: string, lines: string[]): Promise<number> {
        return new Promise((resolve, reject) => {
          let text = ''
          const socket = connect({ port: portOf(proxy), host: '127.0.0.1', localAddress }, () =>
            socket.write(`${lines.join('\r\n')}\r\nHost: x\r\nConnection: close\r\n\r\n`),
          )
          socket.on('data', (chunk) => {
            text += chunk
          })
          socket.on('error', reject)
          socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])))
        })
      }
    })

    describe('the credential', () => {
      test('is hidden from the application', async () => {
        for (const path of ['/x', '/reports/x', '/public/x', '/jobs/x']) {
          for (const headers of [
            bearing('worker'),
            [`x-api-key: ${bearers.worker}`],
            [`authorization: bearer ${bearers.worker}`],
          ]) {
            const { seen } = await pass(`GET ${path}`, headers)
            expect(seen).toHaveLength(1)
            expect(seen[0]?.head).not.toContain(bearers.worker ?? '')
            expect([seen[0]?.headers.has('authorization'), seen[0]?.headers.has('x-api-key')]).toEqual([
              false,
              false,
            ])
          }
        }
        expect(await proxy.log()).not.toContain(bearers.worker ?? '')
      })

      test('is asked about without the body, which goes to the application alone', async () => {
        const body = 'x'.repeat(50_000)
        const headers = [...bearing('worker'), `Content-Length: ${body.length}`]
        const { answer, seen } = await pass('POST /jobs/x', headers, body)
        expect([answer.status, seen[0]?.body.length]).toEqual([200, body.length])
        const refused = await pass('POST /admin/x', headers, body)
        expect([refused.answer.status, refused.seen]).toEqual([403, []])
      })

      test('is asked about by the recipe’s words alone, whatever the request', async () => {
        const recorder = await startUpstream()
        const asking = await start(recorder.port, upstream.port)
        try {
          for (const [startLine, target] of [
            ['POST /x?scope=other&role=admin', /^\/forward-auth(\?kind=any)?$/],
            ['PUT /reports/..?kind=any', /^$/],
            ['PUT /reports/1?kind=any', /^\/forward-auth\?scope=read$/],
            ['DELETE /jobs?scope=&scope=', /^\/forward-auth\?kind=key&scope=read,write$/],
            ['HEAD /admin/?', /^\/forward-auth\?role=admin$/],
          ] as const) {
            const from = recorder.seen.length
            const body = ['Content-Type: application/json', 'Content-Length: 2']
            await pass(startLine, [...bearing('user'), ...body], '{}', asking)
            const asked = recorder.seen.slice(from)
            for (const question of asked) {
              expect(question.startLine).toMatch(/^GET /)
              expect(question.target).toMatch(target)
              const { headers } = question
              expect([
                question.body,
                headers.get('content-length')?.join() ?? '0',
                headers.has('transfer-encoding'),
              ]).toEqual(['', '0', false])
              expect(headers.get('authorization')).toEqual([`Bearer ${bearers.user}`])
              expect(headers.get('x-forwarded-for')).toEqual(['127.0.0.1'])
            }
            expect([startLine, asked.length]).toEqual([startLine, startLine.includes('..') ? 0 : 1])
          }
        } finally {
          await asking.stop()
          recorder.close()
        }
      })

      /** More header bytes than Latchkey reads, and than a proxy accepts by default. */
      const LARGE = 30_000
      const cookie = `Cookie: session=${'c'.repeat(LARGE)}`
      const browserHeaders = [
        'User-Agent: Mozilla/5.0',
        'Accept: text/html',
        'Accept-Language: en',
        'Accept-Encoding: gzip, br',
        `Referer: https://app.example.com/${'r'.repeat(4_000)}`,
        'Origin: https://app.example.com',
        'Cache-Control: no-cache',
        'If-None-Match: "x"',
        'Sec-Fetch-Mode: navigate',
        'X-Requested-With: XMLHttpRequest',
        'X-CSRF-Token: abc',
        'Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        'Content-Type: application/json',
      ]

      test('goes on with a request whose cookies, URL and body are large, as with any', async () => {
        const target = `/reports/x?q=${'u'.repeat(LARGE)}`
        const body = 'b'.repeat(LARGE)
        const large = [cookie, ...browserHeaders, `Content-Length: ${body.length}`]
        const { answer, seen } = await pass(`POST ${target}`, [...bearing('reader'), ...large], body)
        expect([answer.status, seen.length]).toEqual([200, 1])
        expect([seen[0]?.target, seen[0]?.body]).toEqual([target, body])
        expect(seen[0]?.headers.get('cookie')).toEqual([cookie.slice('Cookie: '.length)])
        for (const [path, headers, status] of [
          [target, [], 401],
          [target.replace('/reports', '/jobs'), bearing('reader'), 403],
          [target.replace('/reports', '/public'), [], 200],
        ] as const) {
          const other = await pass(`POST ${path}`, [...headers, ...large], body)
          expect([path.slice(0, 9), other.answer.status]).toEqual([path.slice(0, 9), status])
          expect(other.seen).toHaveLength(status === 200 ? 1 : 0)
        }
      })

      test('is all that the question carries, with the address and an id', async () => {
        const recorder = await startUpstream()
        const asking = await start(recorder.port, upstream.port)
        try {
          const headers = [...bearing('user'), cookie, ...browserHeaders, 'X-Request-Id: 0123456789']
          await pass(`GET /reports/x?q=${'u'.repeat(LARGE)}`, headers, '', asking)
          const [question] = recorder.seen
          expect(question?.target).toBe('/forward-auth?scope=read')
          expect(question?.headers.get('authorization')).toEqual([`Bearer ${bearers.user}`])
          const needed = ['authorization', 'x-forwarded-for', 'x-request-id']
          /** Short names that HTTP or a proxy defines. */
          const small = [
            'host',
            'connection',
            'accept-encoding',
            'user-agent',
            'x-forwarded-proto',
            'x-forwarded-host',
          ]
          const names = [...(question?.headers.keys() ?? [])]
          expect(needed.filter((name) => !names.includes(name))).toEqual([])
          expect(names.filter((name) => ![...needed, ...small].includes(name))).toEqual([])
          expect(question?.head.length).toBeLessThan(1_500)
        } finally {
          await asking.stop()
          recorder.close()
        }
      })

      test('is asked about anew each time: dead, it opens nothing from the next request', async () => {
        const { id, key } = await newKey(service, owner.access)
        for (let i = 0; i < 3; i++)
          expect((await pass('GET /x', [`X-API-Key: ${key}`])).answer.status).toBe(200)
        await call(service, `DELETE /keys/${id}`, { bearer: owner.access })
        const { answer, seen } = await pass('GET /x', [`X-API-Key: ${key}`])
        expect([answer.status, seen]).toEqual([401, []])
      })

      test('a preflight has none, and is refused', async () => {
        const preflight = ['Origin: https://app.example.com', 'Access-Control-Request-Method: GET']
        const { answer, seen } = await pass('OPTIONS /x', preflight)
        expect([answer.status, seen]).toEqual([401, []])
        expect((await pass('OPTIONS /public/x', preflight)).seen).toHaveLength(1)
      })

      test('opens a WebSocket, or does not', async () => {
        const upgrade = [
          'Upgrade: websocket',
          'Connection: Upgrade',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==',
        ]
        const stripping = upgrade.map((line) =>
          line.replace('Connection: Upgrade', 'Connection: Upgrade, X-Auth-Type'),
        )
        for (const lines of [upgrade, stripping]) {
          expect(await upgraded([...bearing('reader'), ...lines])).toBe(101)
          expect(upstream.seen.at(-1)?.headers.get('x-auth-type')).toEqual(['key'])
        }
        const before = upstream.seen.length
        expect(await upgraded(upgrade)).toBe(401)
        expect(upstream.seen.length).toBe(before)
      })

      test('opens no other connection, on which no credential would be checked', async () => {
        const h2c = ['Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA']
        for (const lines of [
          ['Upgrade: h2c'],
          ['Upgrade: H2C'],
          ['Upgrade: websocket, h2c'],
          ['Upgrade: h2c, websocket'],
          ['Upgrade: h2c', 'Upgrade: websocket'],
          ['Upgrade: websocket', 'Upgrade: h2c'],
        ]) {
          const before = upstream.seen.length
          await upgraded([...bearing('reader'), ...lines, ...h2c])
          for (const { headers } of upstream.seen.slice(before))
            expect([lines, headers.get('upgrade') ?? ['websocket']]).toEqual([lines, ['websocket']])
        }
        const { answer, seen } = await pass('GET /public/x', ['Upgrade: h2c', ...h2c])
        expect([answer.status, seen[0]?.headers.get('upgrade')]).toEqual([200, undefined])
      })

      /** The status of a WebSocket handshake. The connection stays open if it succeeds. */
      function upgraded(headers: string[]): Promise<number> {
        return new Promise((resolve, reject) => {
          const lines = ['GET /socket HTTP/1.1', 'Host: x', ...headers, '', '']
          const socket = connect(portOf(proxy), '127.0.0.1', () => socket.write(lines.join('\r\n')))
          socket.on('error', reject)
          socket.on('data', (chunk) => {
            socket.destroy()
            resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(String(chunk))?.[1]))
          })
        })
      }
    })

    describe('a path that is no plain one', () => {
      /** The paths for which the application may receive a request, however it reads the path. */
      const isFor = (who: string, path: string) => {
        const [, place = ''] = path.split('/')
        if (place === 'public') return true
        if (who === 'nobody') return false
        return place === 'admin' ? who === 'admin' : place === 'jobs' ? who === 'worker' : true
      }

      test.each(['nobody', 'reader', 'user', 'worker'])(
        'reaches nothing for %s that a plain one would not',
        async (who) => {
          const headers = who === 'nobody' ? [] : bearing(who)
          for (const target of AMBIGUOUS) {
            const { answer, seen } = await pass(`GET ${target}`, headers)
            const reached = seen.map((each) => readTolerantly(each.target))
            expect([target, reached.filter((path) => !isFor(who, path))]).toEqual([target, []])
            // A caller who may use every path still gets the refusal of an invalid path.
            if (seen.length === 0)
              expect([target, answer.status === 0 || answer.status >= 400]).toEqual([target, true])
          }
        },
        240_000,
      )

      test('the control: a plain one that looks a little like it arrives', async () => {
        for (const target of [
          '/x/a.b',
          '/x/...',
          '/x/.hidden',
          '/x/a%20b',
          '/x/%C3%A9',
          '/x/~a+b=c,d',
          '/x?next=//y/../z',
          '/x?a=%2f',
        ]) {
          const { seen } = await pass(`GET ${target}`, bearing('reader'))
          expect(seen.map((each) => each.target)).toEqual([target])
        }
      })
    })

    describe('a refusal', () => {
      test.each<[status: number, startLine: string, headers: () => readonly string[]]>([
        [401, 'GET /x', () => []],
        [401, 'GET /x', () => ['X-API-Key: garbage']],
        [403, 'GET /admin', () => bearing('user')],
        [403, 'GET /jobs', () => bearing('reader')],
      ])(
        'of %i is a problem with a code and an id, as Latchkey’s own',
        async (status, startLine, headers) => {
          expectRefusal((await pass(startLine, headers())).answer, status)
        },
      )
    })

    test('a credential that is larger than any is refused, and is no failure', async () => {
      const { answer, seen } = await pass('GET /x', [`X-API-Key: sk_${'0'.repeat(20_000)}`])
      // nginx passes on a refusal only as 401. Caddy passes on Latchkey's own answer.
      expect([[401, 431].includes(answer.status), seen]).toEqual([true, []])
      if (answer.status === 401) expectRefusal(answer, 401)
    })

    if (name.includes('nginx')) {
      test('what the proxy itself refuses is told in the same form', async () => {
        expectRefusal((await pass('GET /x//y', bearing('user'))).answer, 400)
        // nginx keeps the connection open for a while, to read the body of the refused request.
        const wire = dial(proxy)
        const head = [
          'POST /x HTTP/1.1',
          'Host: latchkey.test',
          ...bearing('user'),
          'Content-Length: 17000000',
        ]
        wire.send(`${head.join('\r\n')}\r\n\r\n`)
        expectRefusal(await wire.answer(), 413)
        wire.end()
        expect((await pass('GET /latchkey/ambiguous', bearing('user'))).answer.status).toBe(404)
      })
    }

    test('an error of the application’s own stays as it is', async () => {
      const page = '<h1>Not for you</h1>'
      const app = await listenOnTcp((socket) =>
        socket.once('data', () =>
          socket.end(
            `HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: ${page.length}\r\n\r\n${page}`,
          ),
        ),
      )
      const own = await start(portOf(service), app.port)
      try {
        const answer = await through('GET /x', bearing('user'), '', own)
        expect([answer.status, answer.body]).toEqual([403, page])
      } finally {
        await own.stop()
        app.close()
      }
    })

    describe("what is left of a key's rate", () => {
      const RATE = ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset']
      const limited = () =>
        newKey(service, owner.access, { scopes: 'read', rate_limit: { limit: 5, window_seconds: 600 } })

      test('goes on to the client with the answer of the application', async () => {
        const { key } = await limited()
        for (const [path, left] of [
          ['/x', '4'],
          ['/reports/1', '3'],
        ] as const) {
          const { answer, seen } = await pass(`GET ${path}`, [`X-API-Key: ${key}`])
          expect([answer.status, seen.length]).toEqual([200, 1])
          const [limit, remaining, reset] = RATE.map((each) => headerOf(answer, each))
          expect([limit, remaining]).toEqual(['5', left])
          expect(Number(reset)).toBeWithin(590, 601)
          for (const each of RATE) expect(answer.head.match(new RegExp(`^${each}:`, 'gim'))).toHaveLength(1)
        }
      })

      test('is not said of callers without a rate, nor where no question is asked', async () => {
        const { key } = await limited()
        const forged = ['RateLimit-Limit: 99', 'RateLimit-Remaining: 98', 'RateLimit-Reset: 97']
        for (const [path, headers] of [
          ['/x', bearing('user')],
          ['/x', bearing('reader')],
          ['/public/a', [`X-API-Key: ${key}`]],
        ] as const) {
          const { answer } = await pass(`GET ${path}`, [...headers, ...forged])
          expect(answer.status).toBe(200)
          expect(RATE.map((each) => headerOf(answer, each))).toEqual([null, null, null])
        }
      })
    })

    describe('what Latchkey cannot grant', () => {
      test('a key used too often: 429, and when to come back', async () => {
        const { key } = await newKey(service, owner.access, { rate_limit: { limit: 1, window_seconds: 600 } })
        expect((await pass('GET /x', [`X-API-Key: ${key}`])).answer.status).toBe(200)
        const { answer, seen } = await pass('GET /x', [`X-API-Key: ${key}`])
        expect([answer.status, seen]).toEqual([429, []])
        expectRefusal(answer, 429)
        expect(Number(headerOf(answer, 'retry-after'))).toBeWithin(1, 601)
        expect(headerOf(answer, 'ratelimit-limit')).toBe('1')
        expect(headerOf(answer, 'ratelimit-remaining')).toBe('0')
        expect(Number(headerOf(answer, 'ratelimit-reset'))).toBeWithin(1, 601)
      })

      test('a key without credits: 429', async () => {
        const { key } = await newKey(service, owner.access, {
          credits: { remaining: 1, refill: { amount: 1, interval: 'daily' } },
        })
        expect((await pass('GET /x', [`X-API-Key: ${key}`])).answer.status).toBe(200)
        const { answer, seen } = await pass('GET /x', [`X-API-Key: ${key}`])
        expect([answer.status, seen]).toEqual([429, []])
        expect(Number(headerOf(answer, 'retry-after'))).toBeWithin(1, 86_401)
        expect(headerOf(answer, 'ratelimit-remaining')).toBe('0')
        expectRefusal(answer, 429)
      })

      test('a database that does not answer: 503, and when to come back', async () => {
        const { key } = await newKey(service, owner.access)
        await sql.begin(async (tx) => {
          await tx`LOCK TABLE latchkey.api_key_secrets`
          const { answer, seen } = await pass('GET /x', [`X-API-Key: ${key}`])
          expect([answer.status, headerOf(answer, 'retry-after'), seen]).toEqual([503, '1', []])
          expectRefusal(answer, 503)
        })
        expect((await pass('GET /x', [`X-API-Key: ${key}`])).answer.status).toBe(200)
      })
    })

    describe('where Latchkey is out of reach', () => {
      test.each<[string, () => Promise<{ port: number; close(): void }>]>([
        ['nothing listens', async () => ({ port: await freePort(), close: () => {} })],
        ['the connection is cut', () => listenOnTcp((socket) => socket.destroy())],
        ['nothing is answered', () => listenOnTcp(() => {})],
        ['nonsense is answered', () => listenOnTcp((socket) => socket.end('nonsense\r\n\r\n'))],
        [
          'something else answers',
          () => listenOnTcp((socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')),
        ],
        [
          'it says to go elsewhere',
          () =>
            listenOnTcp((socket) =>
              socket.end('HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n'),
            ),
        ],
      ])(
        'no request gets through: %s',
        async (what, stand) => {
          const latchkey = await stand()
          const alone = await start(latchkey.port, upstream.port)
          try {
            const before = upstream.seen.length
            const answers = await Promise.all(
              ['/x', '/admin/x'].map((path) => through(`GET ${path}`, bearing('admin'), '', alone)),
            )
            for (const { status } of answers) {
              // Caddy passes on any answer of Latchkey. nginx turns it into an error.
              expect([what, status >= 300]).toEqual([what, true])
              if (!what.includes('else')) expect([500, 502, 503, 504]).toContain(status)
            }
            expect(upstream.seen.length).toBe(before)
            expect((await pass('GET /public/x', [], '', alone)).answer.status).toBe(200)
          } finally {
            await alone.stop()
            latchkey.close()
          }
        },
        240_000,
      )
    })

    test('connections to Latchkey are kept', async () => {
      const relay = await listenOnTcp((socket) => {
        const onward = connect(portOf(service), '127.0.0.1')
        onward.on('error', () => socket.destroy())
        socket.on('close', () => onward.destroy())
        socket.pipe(onward).pipe(socket)
      })
      const kept = await start(relay.port, upstream.port)
      try {
        for (let i = 0; i < 20; i++)
          expect((await pass('GET /x', bearing('reader'), '', kept)).answer.status).toBe(200)
        expect(relay.accepted()).toBeLessThanOrEqual(4)
      } finally {
        await kept.stop()
        relay.close()
      }
    })
  })
}
