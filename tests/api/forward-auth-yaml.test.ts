import { beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { IDENTITY_HEADERS } from '../../src/api/forward-auth/identity.ts'
import { newKey } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { addLoggedIn } from '../support/people.ts'
import { aliasesOf } from '../support/proxy.ts'
import { useService, useSql } from '../support/use-service.ts'

// Debian has no package of Traefik and Envoy, so the proxies themselves are not run. These tests read their configuration,
// and send the question that each proxy sends, by its documentation, to a real Latchkey.

/** A file of deploy/, whose shape the test then asserts. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
const readYaml = async (path: string): Promise<any> =>
  Bun.YAML.parse(await Bun.file(join(import.meta.dir, '../../deploy', path)).text())

const RATE_HEADERS = ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset']
const METADATA = '/.well-known/oauth-protected-resource'
const LOWER = IDENTITY_HEADERS.map((name) => name.toLowerCase())
/** The policies of both files, and the callers that each authorizes. */
const POLICIES: Record<string, string[]> = {
  any: ['user', 'admin', 'reader', 'worker'],
  read: ['user', 'admin', 'reader', 'worker'],
  jobs: ['worker'],
  admin: ['admin'],
}

const bearers: Record<string, string> = {}
const service = useService({ trustedProxies: ['127.0.0.1/32'] })
const sql = useSql(service)
beforeAll(async () => {
  const user = await addLoggedIn(service, sql)
  bearers.user = user.access
  bearers.admin = (await addLoggedIn(service, sql, { role: 'admin' })).access
  bearers.reader = (await newKey(service, user.access, { scopes: 'read' })).key
  bearers.worker = (await newKey(service, user.access, { scopes: 'read,write' })).key
})

const letsOn = (status: number, head: string) => status === 200 && /^x-auth-type: (user|key)$/im.test(head)

describe('deploy/traefik', () => {
  const read = async () => (await readYaml('traefik/latchkey.yaml')).http

  test('every question sends only the credential, and copies every identity header from the answer', async () => {
    const { middlewares } = await read()
    for (const policy of Object.keys(POLICIES)) {
      const { forwardAuth } = middlewares[`latchkey-${policy}`]
      expect(forwardAuth.authResponseHeaders).toEqual([...IDENTITY_HEADERS])
      expect(forwardAuth.authRequestHeaders).toEqual(['Authorization', 'X-API-Key'])
      expect(Object.keys(forwardAuth).sort()).toEqual([
        'address',
        'authRequestHeaders',
        'authResponseHeaders',
      ])
    }
  })

  test('every router removes identity headers first, then asks, then hides the credential', async () => {
    const { routers, middlewares } = await read()
    const asked: Record<string, string[]> = {
      any: ['latchkey-any'],
      public: [],
      reports: ['latchkey-read'],
      jobs: ['latchkey-jobs'],
      admin: ['latchkey-admin'],
    }
    expect(Object.keys(routers).sort()).toEqual([...Object.keys(asked), 'metadata'].sort())
    for (const [name, questions] of Object.entries(asked)) {
      expect(routers[name].middlewares).toEqual(['strip-identity', ...questions, 'hide-credential'])
      for (const each of routers[name].middlewares) expect(middlewares).toHaveProperty(each)
    }
    const empty = (names: string[]) => Object.fromEntries(names.map((name) => [name, '']))
    const { customRequestHeaders } = middlewares['strip-identity'].headers
    expect(customRequestHeaders).toEqual(empty(IDENTITY_HEADERS.flatMap(aliasesOf)))
    expect(middlewares['hide-credential'].headers.customRequestHeaders).toEqual(
      empty(['Authorization', 'X-API-Key']),
    )
  })

  test('the place of a resource’s metadata leads to those of Latchkey', async () => {
    const { routers, middlewares, services } = await read()
    expect(routers.metadata).toEqual({
      rule: `Path(\`${METADATA}\`)`,
      middlewares: ['metadata-of-api'],
      service: 'latchkey',
    })
    expect(middlewares['metadata-of-api']).toEqual({ replacePath: { path: `${METADATA}/api` } })
    expect(services.latchkey.loadBalancer.servers).toEqual([{ url: 'http://127.0.0.1:8000' }])
  })

  test.each(Object.entries(POLICIES))('what it sends for %s is a question', async (policy, allowed) => {
    const { middlewares } = await read()
    const { pathname, search } = new URL(middlewares[`latchkey-${policy}`].forwardAuth.address)
    for (const [who, token] of Object.entries(bearers)) {
      const { status, head } = await sendRaw(service, `GET ${pathname}${search}`, [
        `Authorization: Bearer ${token}`,
        'Accept-Encoding: gzip',
        'User-Agent: Go-http-client/1.1',
        'X-Forwarded-For: 192.0.2.1',
        'X-Forwarded-Host: app.example.com',
        'X-Forwarded-Method: POST',
        'X-Forwarded-Port: 443',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Server: edge',
        'X-Forwarded-Uri: /jobs/../admin?scope=other&kind=user',
        'X-Real-Ip: 192.0.2.1',
      ])
      expect([who, letsOn(status, head)]).toEqual([who, allowed.includes(who)])
    }
  })
})

describe('deploy/envoy', () => {
  const PER_ROUTE = 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute'
  const read = async () => {
    const { listeners, clusters } = (await readYaml('envoy/envoy.yaml')).static_resources
    const manager = listeners[0].filter_chains[0].filters[0].typed_config
    const questions = manager.http_filters.slice(0, -1)
    return { manager, questions, routes: manager.route_config.virtual_hosts[0].routes, clusters }
  }
  const policyOf = (name: string) => name.replace('latchkey-', '')

  test('every question copies every identity header, denies when Latchkey fails, and holds the whole policy', async () => {
    const { questions, manager } = await read()
    expect(questions.map(({ name }: { name: string }) => policyOf(name))).toEqual(Object.keys(POLICIES))
    for (const { typed_config } of questions) {
      const { http_service, failure_mode_allow, allowed_headers } = typed_config
      // The question has no body.
      expect(typed_config).not.toHaveProperty('with_request_body')
      const patterns = http_service.authorization_response.allowed_upstream_headers.patterns
      expect(patterns).toEqual(LOWER.map((exact) => ({ exact })))
      const shown = http_service.authorization_response.allowed_client_headers_on_success.patterns
      expect(shown).toEqual(RATE_HEADERS.map((exact) => ({ exact })))
      expect(failure_mode_allow).toBe(false)
      const told = ['authorization', 'x-api-key', 'x-forwarded-for', 'x-request-id']
      expect(allowed_headers.patterns).toEqual(told.map((exact) => ({ exact })))
      expect(http_service.path_prefix).toMatch(/^\/forward-auth\/[^/?]+$/)
    }
    expect(manager.http_filters.at(-1).name).toBe('envoy.filters.http.router')
  })

  test('identity headers of the client are removed first, and every path is normalised', async () => {
    const { manager } = await read()
    const [{ typed_config }] = manager.early_header_mutation_extensions
    expect(typed_config.mutations).toEqual(LOWER.map((remove) => ({ remove })))
    expect(manager).toMatchObject({
      common_http_protocol_options: { headers_with_underscores_action: 'REJECT_REQUEST' },
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: 'REJECT_REQUEST',
      use_remote_address: true,
      // Envoy's default is 60 KB for cookies, other headers and URL together.
      max_request_headers_kb: 96,
      xff_num_trusted_hops: 0,
    })
    expect(manager.route_config.virtual_hosts[0].request_headers_to_remove).toEqual([
      'authorization',
      'x-api-key',
    ])
  })

  test('the place of a resource’s metadata leads to those of Latchkey', async () => {
    const { routes } = await read()
    expect(routes[0].match).toEqual({ path: METADATA })
    expect(routes[0].route).toEqual({ cluster: 'latchkey', prefix_rewrite: `${METADATA}/api` })
  })

  test('a route disables the filters of other policies by name, and no others', async () => {
    const { routes, questions } = await read()
    const names: string[] = questions.map(({ name }: { name: string }) => name)
    const asked = routes.map(({ typed_per_filter_config = {} }) => {
      for (const each of Object.values(typed_per_filter_config))
        expect(each).toEqual({ '@type': PER_ROUTE, disabled: true })
      for (const name of Object.keys(typed_per_filter_config)) expect(names).toContain(name)
      return names.filter((name) => !(name in typed_per_filter_config)).map(policyOf)
    })
    expect(asked).toEqual([[], [], ['read'], ['jobs'], ['admin'], ['any']])
    expect(routes.at(-1).match).toEqual({ prefix: '/' })
  })

  test.each(Object.entries(POLICIES))(
    'the request of Envoy for %s is a question, whatever the client asks for',
    async (policy, allowed) => {
      const { questions } = await read()
      const { path_prefix } = questions.find(({ name }: { name: string }) => policyOf(name) === policy)
        .typed_config.http_service
      for (const [who, token] of Object.entries(bearers)) {
        for (const [method, path] of [
          ['GET', '/'],
          ['GET', '/jobs/1?scope=other&role=admin'],
          ['POST', '/reports/2024'],
          ['OPTIONS', '/x'],
          ['PROPFIND', '/a%20b/%C3%A9?q=../..'],
        ]) {
          const { status, head } = await sendRaw(service, `${method} ${path_prefix}${path}`, [
            'Host: app.example.com',
            'content-length: 0',
            `authorization: Bearer ${token}`,
            'x-forwarded-for: 192.0.2.1',
            'x-envoy-internal: true',
            `x-request-id: ${crypto.randomUUID()}`,
          ])
          expect([who, method, path, letsOn(status, head)]).toEqual([
            who,
            method,
            path,
            allowed.includes(who),
          ])
        }
      }
    },
  )
})
