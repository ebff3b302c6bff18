import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import * as openid from 'openid-client'
import { allowAtPages, listenOnLoopback, useChromium } from '../support/app-in-browser.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { newPerson } from '../support/client.ts'
import { adminToken } from '../support/oauth.ts'
import { registerApp, registerResource } from '../support/registered-apps.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ isIssuer: true })
const person = prepare(() => newPerson(service))
const admin = prepare(async () => ({ access: await adminToken(service) }))

describe.skipIf(!CHROMIUM)(`openid-client, and a person at a browser${WITHOUT_CHROMIUM}`, () => {
  const at = useChromium()

  /** Opens an address whose answer needs no person. */
  async function visit(to: URL): Promise<void> {
    const page = await at.context.newPage()
    await page.goto(to.href)
    await page.close()
  }

  /** An address of the authorization endpoint, with all that has to be checked when the browser comes back. */
  async function request(config: openid.Configuration, more: Record<string, string>) {
    const pkceCodeVerifier = openid.randomPKCECodeVerifier()
    const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()]
    const url = openid.buildAuthorizationUrl(config, {
      scope: 'openid email profile',
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
      ...more,
    })
    return { url, checks: { pkceCodeVerifier, expectedState, expectedNonce } }
  }

  test('a confidential client signs a person in, reads who they are, refreshes, and signs them out', async () => {
    await using back = listenOnLoopback()
    const [redirect_uri, bye] = [`${back.url}/callback`, `${back.url}/bye`]
    const app = await registerApp(service, admin.access, {
      name: 'Shop',
      kind: 'confidential',
      redirect_uris: [redirect_uri],
      post_logout_redirect_uris: [bye],
    })
    const config = await openid.discovery(new URL(service.url), app.id, app.secret, undefined, {
      execute: [openid.allowInsecureRequests],
    })
    const { url, checks } = await request(config, { redirect_uri })
    const said = await allowAtPages(at.context, url, person)
    expect(said).toContain('Shop')
    expect(said).toContain(person.email)

    const came = await back.next()
    const tokens = await openid.authorizationCodeGrant(config, came, { ...checks, idTokenExpected: true })
    expect(tokens.claims()).toMatchObject({
      sub: person.id,
      aud: app.id,
      email: person.email,
      email_verified: false,
      amr: ['pwd'],
    })
    const info = await openid.fetchUserInfo(config, tokens.access_token, person.id)
    expect(info).toMatchObject({ sub: person.id, email: person.email })
    await expect(openid.fetchUserInfo(config, tokens.access_token, app.id)).rejects.toThrow()
    const next = await openid.refreshTokenGrant(config, tokens.refresh_token ?? '')
    expect(next.scope).toBe('openid email profile')

    // What was sent to another request is refused here.
    const other = await request(config, { redirect_uri })
    const foreign = openid.authorizationCodeGrant(config, came, { ...other.checks, idTokenExpected: true })
    await expect(foreign).rejects.toThrow()

    const leave = { post_logout_redirect_uri: bye, id_token_hint: tokens.id_token ?? '', state: 'over' }
    await visit(openid.buildEndSessionUrl(config, leave))
    expect((await back.next()).href).toBe(`${bye}?state=over`)
    const silent = await request(config, { redirect_uri, prompt: 'none' })
    await visit(silent.url)
    const refused = openid.authorizationCodeGrant(config, await back.next(), silent.checks)
    await expect(refused).rejects.toMatchObject({ error: 'login_required' })
  })

  test('a public client gets a token for an API, and an ID token beside it', async () => {
    await using back = listenOnLoopback()
    // Registered without a port: a command-line tool learns it as it starts to listen.
    const app = await registerApp(service, admin.access, { redirect_uris: ['http://127.0.0.1/callback'] })
    const api = await registerResource(service, admin.access)
    const config = await openid.discovery(new URL(service.url), app.id, undefined, openid.None(), {
      execute: [openid.allowInsecureRequests],
    })
    const { url, checks } = await request(config, {
      redirect_uri: `${back.url}/callback`,
      resource: api.identifier,
      scope: 'openid read',
    })
    const said = await allowAtPages(at.context, url, person)
    expect(said).toContain(api.identifier)
    const came = await back.next()
    const tokens = await openid.authorizationCodeGrant(config, came, checks, { resource: api.identifier })
    expect(tokens.claims()?.sub).toBe(person.id)
    expect(tokens.scope).toBe('openid read')
    const next = await openid.refreshTokenGrant(config, tokens.refresh_token ?? '')
    expect(next.scope).toBe('openid read')
  })
})
