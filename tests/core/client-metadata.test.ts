import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { createDocuments } from '../../src/core/client-metadata/documents.ts'
import { FETCH_MS, fetchDocument } from '../../src/core/client-metadata/fetch-document.ts'
import { isHostAllowed, readDocumentUrl } from '../../src/core/client-metadata/url.ts'
import {
  APP_HOST,
  type DocumentServer,
  PUBLIC_ADDRESS,
  startDocumentServer,
  startTrap,
} from '../support/document-server.ts'
import { until } from '../support/until.ts'

let server: DocumentServer
beforeAll(async () => {
  server = await startDocumentServer()
})
afterAll(() => server.stop())
beforeEach(() => {
  server.forget()
  server.serveJson({ ok: true })
})

const URL_OF = (path = '/client', host = APP_HOST) => new URL(`https://${host}${path}`)
const ask = (url = URL_OF(), withinMs?: number) => fetchDocument(server.network, url, withinMs)
const faultOf = async (url = URL_OF(), withinMs?: number) => {
  const found = await ask(url, withinMs)
  return 'fault' in found ? found.fault : `JSON: ${JSON.stringify(found.json)}`
}

describe('where a document is fetched', () => {
  test('the control: a document of a public host is read', async () => {
    expect(await ask()).toEqual({ json: { ok: true }, freshForMs: 300_000 })
    expect(server.connected).toEqual([PUBLIC_ADDRESS])
  })

  test('a host is looked up once, and the address that was decided on is connected to', async () => {
    server.addresses = [[PUBLIC_ADDRESS], ['127.0.0.1']]
    expect(await ask()).toMatchObject({ json: { ok: true } })
    expect([server.resolved, server.connected]).toEqual([[APP_HOST], [PUBLIC_ADDRESS]])
    // The second answer of the same host, which a rebinding resolver gives, is decided on anew.
    expect(await faultOf()).toBe('The host is not on the public Internet.')
    expect(server.asked).toHaveLength(1)
  })

  test.each([
    [['127.0.0.1']],
    [['169.254.169.254']],
    [['::1']],
    [['::ffff:127.0.0.1']],
    [['64:ff9b::7f00:1']],
    [['2002:7f00:1::1']],
    [[PUBLIC_ADDRESS, '10.0.0.1']],
    [['10.0.0.1', PUBLIC_ADDRESS]],
    [[PUBLIC_ADDRESS, 'fd00::1']],
  ])('a host with the addresses %j is not connected to', async (addresses) => {
    server.addresses = [addresses]
    expect(await faultOf()).toBe('The host is not on the public Internet.')
    expect(server.connected).toEqual([])
  })

  test('a host without an address is a refusal', async () => {
    server.addresses = [[]]
    expect(await faultOf()).toBe('The host has no address.')
  })

  test('the certificate is checked, and for the name', async () => {
    expect(await faultOf(URL_OF('/client', 'wrong.example.com'))).toBe('The host could not be reached.')
    server.isTrusted = false
    expect(await faultOf()).toBe('The host could not be reached.')
    expect(server.asked).toEqual([])
  })

  test('the environment neither leads through a proxy nor switches the check of certificates off', async () => {
    const trap = await startTrap()
    const before = { ...process.env }
    for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'ALL_PROXY']) process.env[name] = trap.url
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    try {
      expect(await ask()).toMatchObject({ json: { ok: true } })
      server.isTrusted = false
      expect(await faultOf()).toBe('The host could not be reached.')
      expect(trap.visits()).toBe(0)
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
      trap.stop()
    }
  })

  test.each([301, 302, 303, 307, 308])('a redirect by %d is not followed', async (status) => {
    const trap = await startTrap()
    server.serve((_, response) => response.writeHead(status, { location: trap.url }).end())
    expect(await faultOf()).toBe(`The host answered ${status} instead of 200.`)
    expect([server.asked.length, trap.visits()]).toEqual([1, 0])
    trap.stop()
  })

  test('no cookie is kept, and no credential is sent', async () => {
    server.serveJson({ ok: true }, { 'set-cookie': 'a=b; Path=/' })
    await ask()
    await ask()
    for (const { headers } of server.asked) {
      expect(Object.keys(headers).sort()).toEqual([
        'accept',
        'accept-encoding',
        'connection',
        'host',
        'user-agent',
      ])
    }
  })
})

describe('what a host may answer', () => {
  test.each([
    ['application/json', true],
    ['application/json; charset=utf-8', true],
    ['Application/JSON', true],
    ['application/client-metadata+json', true],
    ['text/json', false],
    ['text/html', false],
    ['application/jsonp', false],
    ['application/x+json+xml', false],
    ['image/svg+json', false],
    ['', false],
  ])('the type %j: %p', async (type, isTaken) => {
    server.serve((_, response) => response.writeHead(200, { 'content-type': type }).end('{"ok":true}'))
    expect(await faultOf()).toBe(
      isTaken ? 'JSON: {"ok":true}' : 'The host answered something else than JSON.',
    )
  })

  test.each([201, 204, 206, 401, 404, 500])('%d is no document', async (status) => {
    server.serve((_, response) => response.writeHead(status, { 'content-type': 'application/json' }).end())
    expect(await faultOf()).toBe(`The host answered ${status} instead of 200.`)
  })

  const JSON_TYPE = { 'content-type': 'application/json' }
  /** A document of `bytes` bytes. */
  const textOf = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`

  test('5 KB are read, and one byte more is not', async () => {
    server.serve((_, response) => response.writeHead(200, JSON_TYPE).end(textOf(5120)))
    expect(await faultOf()).toStartWith('JSON: ')
    server.serve((_, response) => response.writeHead(200, JSON_TYPE).end(textOf(5121)))
    expect(await faultOf()).toBe('The document is larger than 5 KB.')
  })

  test('a body without a length is given up at 5 KB, however long it goes on', async () => {
    let isClosed = false
    let written = 0
    server.serve((_, response) => {
      response.writeHead(200, JSON_TYPE)
      const timer = setInterval(() => {
        written += 1000
        response.write('x'.repeat(1000))
      }, 1)
      response.on('close', () => {
        isClosed = true
        clearInterval(timer)
      })
    })
    expect(await faultOf()).toBe('The document is larger than 5 KB.')
    await until(() => isClosed, 'the server to see it')
    expect(written).toBeLessThan(1_000_000)
  })

  test('a length that promises more than comes is a refusal', async () => {
    server.serve((_, response) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': '100' })
      response.write('{"ok":true}')
      setTimeout(() => response.socket?.destroy(), 20)
    })
    expect(await faultOf()).not.toStartWith('JSON')
  })

  test('a length that promises less than comes does not let more in', async () => {
    server.serve((_, response) => {
      response.socket?.end(
        `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"ok":true}${'x'.repeat(9000)}`,
      )
    })
    // What was promised, or nothing.
    expect(['JSON: {"ok":true}', 'The host could not be reached.']).toContain(await faultOf())
  })

  test('a compressed body is not unpacked', async () => {
    for (const encoding of ['gzip', 'br', 'identity, gzip']) {
      server.serve((_, response) =>
        response
          .writeHead(200, { ...JSON_TYPE, 'content-encoding': encoding })
          .end(Bun.gzipSync(Buffer.from(textOf(5000)))),
      )
      expect(await faultOf()).toBe('The host compressed its answer.')
    }
    server.serve((_, response) =>
      response.writeHead(200, JSON_TYPE).end(Bun.gzipSync(Buffer.from(textOf(5000)))),
    )
    expect(await faultOf()).toBe('The document is not UTF-8.')
  })

  test('broken JSON and broken UTF-8 are refusals', async () => {
    server.serve((_, response) => response.writeHead(200, JSON_TYPE).end('{"a":'))
    expect(await faultOf()).toBe('The document is not JSON.')
    server.serve((_, response) => response.writeHead(200, JSON_TYPE).end(Buffer.from([0x22, 0xff, 0x22])))
    expect(await faultOf()).toBe('The document is not UTF-8.')
  })

  test('resolver, connection and body have five seconds together, however slowly bytes come', async () => {
    expect(FETCH_MS).toBe(5000)
    let isClosed = false
    server.serve((_, response) => {
      response.writeHead(200, JSON_TYPE)
      const timer = setInterval(() => response.write(' '), 10)
      response.on('close', () => {
        isClosed = true
        clearInterval(timer)
      })
    })
    expect(await faultOf(URL_OF(), 300)).toBe('The host did not answer in time.')
    await until(() => isClosed, 'the server to see it')
    server.serve(() => {})
    expect(await faultOf(URL_OF(), 300)).toBe('The host did not answer in time.')
    const hung = { ...server.network, resolve: () => new Promise<string[]>(() => {}) }
    expect(await fetchDocument(hung, URL_OF(), 100)).toEqual({ fault: 'The host did not answer in time.' })
  })
})

describe('how long a document is kept', () => {
  test.each([
    [{}, 300],
    [{ 'cache-control': 'max-age=3600' }, 3600],
    [{ 'cache-control': 'public, max-age=7200' }, 7200],
    [{ 'cache-control': 'max-age=60, s-maxage=900' }, 900],
    [{ 'cache-control': 'max-age=3600', age: '600' }, 3000],
    [{ 'cache-control': 'max-age=10' }, 300],
    [{ 'cache-control': 'no-store, max-age=3600' }, 300],
    [{ 'cache-control': 'max-age=999999999' }, 86_400],
    [{ 'cache-control': 'max-age=-5' }, 300],
    [{ date: 'Fri, 27 Nov 2026 10:00:00 GMT', expires: 'Fri, 27 Nov 2026 11:00:00 GMT' }, 3600],
    [{ expires: 'never' }, 300],
  ] as [Record<string, string>, number][])('%j: %d s', async (headers, seconds) => {
    server.serveJson({}, headers)
    expect(await ask()).toMatchObject({ freshForMs: seconds * 1000 })
  })

  test('it is asked again when its time is over; a failure after a minute', async () => {
    let now = 1_000_000
    const documents = createDocuments({ clock: () => now }, server.network)
    server.serveJson({ n: 1 }, { 'cache-control': 'max-age=600' })
    expect(await documents.read(URL_OF())).toEqual({ json: { n: 1 } })
    server.serveJson({ n: 2 })
    now += 599_000
    expect(await documents.read(URL_OF())).toEqual({ json: { n: 1 } })
    now += 1000
    expect(documents.recall(URL_OF())).toBeNull()
    expect(await documents.read(URL_OF())).toEqual({ json: { n: 2 } })
    server.serve((_, response) => response.writeHead(500).end())
    expect(await documents.read(URL_OF('/b'))).toHaveProperty('fault')
    server.serveJson({ n: 3 })
    now += 59_000
    expect(await documents.read(URL_OF('/b'))).toHaveProperty('fault')
    now += 1000
    expect(await documents.read(URL_OF('/b'))).toEqual({ json: { n: 3 } })
  })
})

test('one fetch runs at once for a URL, and four in a process; the others wait for their turn', async () => {
  const open: (() => void)[] = []
  server.serve((_, response) => {
    open.push(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
  })
  const documents = createDocuments({ clock: Date.now }, server.network)
  const same = [1, 2, 3].map(() => documents.read(URL_OF('/same')))
  const others = [1, 2, 3, 4, 5].map((n) => documents.read(URL_OF(`/${n}`)))
  await until(() => open.length === 4, 'the server to see it')
  await Bun.sleep(100)
  expect(server.asked.map(({ path }) => path).sort()).toEqual(['/1', '/2', '/3', '/same'])
  for (let answered = 0; answered < 6; answered++) {
    await until(() => open.length > answered, 'the server to see it')
    open[answered]?.()
  }
  expect(await Promise.all([...same, ...others])).toEqual(Array(8).fill({ json: {} }))
  expect(server.asked).toHaveLength(6)
})

describe('the URL of a document', () => {
  test.each([
    'https://app.example.com/client',
    'https://app.example.com/a/b.json',
    'https://a-b.example/%41',
  ])('%s is one', (text) => {
    expect(readDocumentUrl(text)).toHaveProperty('url')
  })

  test.each([
    'http://app.example.com/client',
    'https://app.example.com',
    'https://app.example.com/',
    'https://app.example.com:8443/client',
    'https://app.example.com:443/client',
    'https://app.example.com/client#a',
    'https://app.example.com/client#',
    'https://app.example.com/client?a=b',
    'https://app.example.com/client?',
    'https://user@app.example.com/client',
    'https://user:secret@app.example.com/client',
    'https://@app.example.com/client',
    'https://app.example.com/a/../client',
    'https://app.example.com/./client',
    'https://app.example.com/a/%2e%2e/client',
    'https://app.example.com/a/.%2E/client',
    'https://APP.example.com/client',
    'HTTPS://app.example.com/client',
    'https://app.example.com./client',
    'https://äpp.example.com/client',
    'https://app.example.com\\client',
    'https:///app.example.com/client',
    'https:app.example.com/client',
    ' https://app.example.com/client',
    'https://app.example.com/client\n',
    'https://app.example.com/cli\tent',
    'https://127.0.0.1/client',
    'https://2130706433/client',
    'https://0x7f000001/client',
    'https://[::1]/client',
    'https://localhost/client',
    `https://app.example.com/${'x'.repeat(500)}`,
    'javascript:alert(1)',
    'not a url',
    '',
  ])('%j is none', (text) => {
    expect(readDocumentUrl(text)).toHaveProperty('fault')
  })

  test('hosts are allowed and denied by name; a denial wins', () => {
    const rules = (allow: string[] | null, deny: string[] = []) => ({
      oauthClientMetadataAllow: allow,
      oauthClientMetadataDeny: deny,
    })
    expect(isHostAllowed(rules(null), 'a.example.com')).toBe(true)
    expect(isHostAllowed(rules(['a.example.com']), 'a.example.com')).toBe(true)
    expect(isHostAllowed(rules(['a.example.com']), 'b.example.com')).toBe(false)
    expect(isHostAllowed(rules(['*.example.com']), 'b.a.example.com')).toBe(true)
    expect(isHostAllowed(rules(['*.example.com']), 'example.com')).toBe(false)
    expect(isHostAllowed(rules(['*.example.com']), 'evilexample.com')).toBe(false)
    expect(isHostAllowed(rules(null, ['*.example.com']), 'a.example.com')).toBe(false)
    expect(isHostAllowed(rules(['a.example.com'], ['*.example.com']), 'a.example.com')).toBe(false)
  })
})
