import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type OAuthClientProvider, UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js'
import { allowAtPages, type Loopback, listenOnLoopback, useChromium } from '../support/app-in-browser.ts'
import type { RunningProgram } from '../support/binary.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newPerson } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { startMcpExample } from '../support/mcp-example.ts'
import { adminToken, newClient } from '../support/oauth.ts'
import { type RegisteredApp, registerApp } from '../support/registered-apps.ts'
import { until } from '../support/until.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ isIssuer: true })
const person = prepare(() => newPerson(service))
const admin = prepare(async () => ({ access: await adminToken(service) }))

let example: RunningProgram
let resource: string
beforeAll(async () => {
  const port = await freePort()
  resource = `http://127.0.0.1:${port}/mcp`
  example = await startMcpExample(service, admin.access, port)
})
afterAll(() => example?.end('SIGTERM'))

/** What an MCP client keeps of its authorization. */
class Kept implements OAuthClientProvider {
  asked: URL | null = null
  verifier = ''
  kept: OAuthTokens | undefined
  readonly app: RegisteredApp
  readonly redirectUrl: string
  constructor(app: RegisteredApp, back: Loopback) {
    this.app = app
    this.redirectUrl = `${back.url}/callback`
  }
  get clientMetadata() {
    return { client_name: 'Editor', redirect_uris: [this.redirectUrl] }
  }
  state = () => 'st4te'
  clientInformation = () => ({ client_id: this.app.id, issuer: service.url })
  tokens = () => this.kept
  saveTokens(tokens: OAuthTokens) {
    this.kept = tokens
  }
  redirectToAuthorization(url: URL) {
    this.asked = url
  }
  saveCodeVerifier(verifier: string) {
    this.verifier = verifier
  }
  codeVerifier = () => this.verifier
  invalidateCredentials() {
    this.kept = undefined
  }
}

const textOf = (answer: Awaited<ReturnType<Client['callTool']>>) =>
  (answer.content as { text: string }[])[0]?.text ?? ''
const newTransport = (options: ConstructorParameters<typeof StreamableHTTPClientTransport>[1]) =>
  new StreamableHTTPClientTransport(new URL(resource), options)
/** The type of the package's own transport does not fit its own interface under `exactOptionalPropertyTypes`. */
async function connect(transport: StreamableHTTPClientTransport): Promise<Client> {
  const client = new Client({ name: 'editor', version: '1.0.0' })
  await client.connect(transport as Parameters<Client['connect']>[0])
  return client
}

describe('the MCP server of the examples', () => {
  test('says where a token comes from, and takes none that was made for something else', async () => {
    const refused = await fetch(resource, { method: 'POST', body: '{}' })
    expect(refused.status).toBe(401)
    const metadata = new URL(resource)
    metadata.pathname = '/.well-known/oauth-protected-resource/mcp'
    const challenge = refused.headers.get('www-authenticate') ?? ''
    expect(challenge).toContain(`resource_metadata="${metadata}"`)
    expect(challenge).toContain('scope="notes:read"')
    expect(await (await fetch(metadata)).json()).toMatchObject({
      resource,
      authorization_servers: [service.url],
      scopes_supported: ['notes:read', 'notes:write'],
    })
    // A page of another site is refused before that (DNS rebinding).
    const foreign = { origin: 'http://evil.example.com' }
    expect((await fetch(resource, { method: 'POST', body: '{}', headers: foreign })).status).toBe(403)
    // A person's own token is for Latchkey's own API.
    const own = { authorization: `Bearer ${person.access}` }
    expect((await fetch(resource, { method: 'POST', body: '{}', headers: own })).status).toBe(401)
  })

  test('takes CI by an API key, as far as its scopes go, until the key is revoked', async () => {
    const account = await newClient(service, admin.access, ['notes:read'])
    const headers = { 'x-api-key': account.secret }
    const client = await connect(newTransport({ requestInit: { headers } }))
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual(['list_notes', 'add_note'])
    expect(textOf(await client.callTool({ name: 'list_notes' }))).toStartWith('[')
    const writing = client.callTool({ name: 'add_note', arguments: { text: 'no' } })
    await expect(writing).rejects.toThrow(/403|insufficient_scope/)
    await call(service, `DELETE /keys/${account.keyId}`, { bearer: admin.access })
    await until(
      () =>
        client
          .callTool({ name: 'list_notes' })
          .then(() => false)
          .catch(() => true),
      'the key is dead here too',
    )
    await client.close()
  })
})

describe.skipIf(!CHROMIUM)(`an MCP client, and a person at a browser${WITHOUT_CHROMIUM}`, () => {
  const at = useChromium()

  test('is let in with consent, asks for more when it needs more, and is cut off with the grant', async () => {
    await using back = listenOnLoopback()
    const app = await registerApp(service, admin.access, {
      name: 'Editor',
      redirect_uris: ['http://127.0.0.1/callback'],
      // With a refresh token this SDK refreshes at a 403 and gives up; without one it asks the person for the scope.
      grants: ['authorization_code'],
    })
    const authProvider = new Kept(app, back)

    /** Lets the person allow what the client asked, and hands the answer to the client. */
    async function allow(transport: StreamableHTTPClientTransport): Promise<string> {
      if (!authProvider.asked) throw new Error('The client asked for nothing')
      const said = await allowAtPages(at.context, authProvider.asked, person)
      const { searchParams } = await back.next()
      expect([searchParams.get('state'), searchParams.get('iss')]).toEqual(['st4te', service.url])
      await transport.finishAuth(searchParams.get('code') ?? '')
      return said
    }

    // From the 401 alone it finds the metadata, the authorization server, and the scope.
    const stranger = newTransport({ authProvider })
    await expect(connect(stranger)).rejects.toBeInstanceOf(UnauthorizedError)
    const { searchParams } = authProvider.asked ?? new URL('http://localhost')
    expect(Object.fromEntries(searchParams)).toMatchObject({
      client_id: app.id,
      code_challenge_method: 'S256',
      resource,
      scope: 'notes:read',
    })
    const said = await allow(stranger)
    expect(said).toContain('Editor')
    expect(said).toContain('Read the notes')
    expect(said).not.toContain('Add notes')

    const transport = newTransport({ authProvider })
    const client = await connect(transport)
    expect(textOf(await client.callTool({ name: 'list_notes' }))).toBe('[]')

    // The tool that writes needs another scope: the 403 names it, and the person is asked for it.
    const add = () => client.callTool({ name: 'add_note', arguments: { text: 'milk' } })
    await expect(add()).rejects.toThrow()
    expect(authProvider.asked?.searchParams.get('scope')).toContain('notes:write')
    expect(await allow(transport)).toContain('Add notes')
    expect(textOf(await add())).toBe('Added.')
    const notes = textOf(await client.callTool({ name: 'list_notes' }))
    expect(JSON.parse(notes)).toEqual([{ text: 'milk', by: person.id }])

    // An API key calls the same tool.
    const account = await newClient(service, admin.access, ['notes:read'])
    const ci = await connect(newTransport({ requestInit: { headers: { 'x-api-key': account.secret } } }))
    expect(textOf(await ci.callTool({ name: 'list_notes' }))).toBe(notes)

    const { body } = await call(service, 'GET /auth/grants', { bearer: person.access })
    const grant = body.items.find(
      (each: { client: { client_id: string } }) => each.client.client_id === app.id,
    )
    expect(grant.resource.identifier).toBe(resource)
    const ended = await call(service, `DELETE /auth/grants/${grant.id}`, { bearer: person.access })
    expect(ended.status).toBe(204)
    authProvider.asked = null
    await until(
      () =>
        client
          .callTool({ name: 'list_notes' })
          .then(() => false)
          .catch(() => true),
      'the client is refused',
    )
    // It would have to ask the person anew.
    expect(authProvider.asked).not.toBeNull()
    expect(textOf(await ci.callTool({ name: 'list_notes' }))).toBe(notes)
    await ci.close()
    await client.close()
  })
})
