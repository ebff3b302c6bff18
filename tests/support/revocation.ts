import type postgres from 'postgres'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { OWN_SLUG } from '../../src/core/resources/audience.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { KEYS_WRITE, PORTAL } from '../../src/lib/scopes.ts'
import { addApp, addResource, allowApp, exchangeKey, type TestResource } from './app-tokens.ts'
import { ask, signIn } from './browser.ts'
import { type Answer, type Call, call, newKey } from './client.ts'
import { type AddedPerson, addLoggedIn, addPerson, beginSession, PASSWORD } from './people.ts'
import { openPortal } from './portal.ts'
import { refresh } from './refresh.ts'
import type { TestService } from './service.ts'
import { until } from './until.ts'

/** A credential. A refresh token changes with each exchange: `text` is the newest one. */
export type Credential = {
  name: string
  kind:
    | 'access'
    | 'refresh'
    | 'key'
    | 'account key'
    | 'account token'
    | 'step'
    | 'cookie'
    | 'portal'
    | 'app'
    | 'own app'
    | 'first-party app'
    | 'signed-in app'
    | 'app refresh'
    | 'exchanged'
  text: string
  /** The service account, for the key of an account. */
  account?: string
  /** The app that refreshes. */
  clientId?: string
  /** For which the token of an app was made. */
  resource?: Pick<TestResource, 'identifier' | 'slug'>
}

/**
 * A place where a credential is checked: how to present it there, and how to tell acceptance from refusal.
 */
export type Surface = {
  name: string
  /**
   * Whether presenting the credential there changes nothing. If it would, another credential is presented to
   * check that the place accepts live ones.
   */
  isHarmless: boolean
  present(at: TestService, credential: Credential): Promise<Answer>
  isAccepted(answer: Answer): boolean
  isRefused(answer: Answer): boolean
}

type Operation = { security?: object[] }
type Document = { paths: Record<string, Record<string, Operation>> }

/** Routes whose success ends the presented credential, or other credentials of the same owner. */
const HARMFUL = [
  'POST /auth/logout-all',
  'DELETE /keys/self',
  'DELETE /auth/mfa/totp',
  'POST /auth/mfa/recovery-codes',
  'DELETE /portal/session',
]

const isRefused = ({ status, body }: Answer) => status === 401 && body?.code === 'invalid_token'
/** The caller was recognised, whatever the answer to the rest of the request. */
const isRecognised = ({ status, body }: Answer) =>
  (status !== 401 || body?.code === 'invalid_login') && status !== 429 && status < 500

/**
 * Every route that requires a credential according to the OpenAPI document. A new route is included
 * automatically.
 */
async function guardedRoutes(service: TestService): Promise<Surface[]> {
  const document: Document = (await call(service, 'GET /openapi.json')).body
  const routes = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      // Routes where the credential is optional are left out: a dead credential has the same effect there as
      // none.
      .filter(
        ([, { security = [] }]) =>
          security.length > 0 && security.every((way) => Object.keys(way).length > 0),
      )
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  )
  return (
    routes
      .filter((route) => !isOAuthPath(route.split(' ')[1] ?? ''))
      // It takes tokens that were made for it alone (tests/api/openid.test.ts).
      .filter((route) => !route.endsWith(' /oauth/userinfo'))
      .map((route) => ({
        name: route,
        isHarmless: !HARMFUL.includes(route),
        present: (at, { text }) => presentAt(at, route, { bearer: text }),
        isAccepted: isRecognised,
        isRefused,
      }))
  )
}

/**
 * Presents a credential with an id that does not exist and a body that is not valid: only whether the
 * credential is recognised matters.
 */
function presentAt(at: TestService, route: string, credential: Call): Promise<Answer> {
  const path = route.replaceAll(/\{\w+\}/g, () => Bun.randomUUIDv7())
  const takesBody = /^(POST|PUT|PATCH) /.test(route) && !HARMFUL.includes(route)
  return call(at, path, takesBody ? { ...credential, json: { nonsense: 1 } } : credential)
}

const basic = (account: string, secret: string) => ({
  authorization: `Basic ${btoa(`${account}:${secret}`)}`,
})
const surfaceAt = (
  name: string,
  present: Surface['present'],
  isAccepted: Surface['isAccepted'],
  isRefused: Surface['isRefused'],
): Surface => ({ name, isHarmless: true, present, isAccepted, isRefused })
const isKnownClient = ({ status }: Answer) => status === 200 || status === 403
const isUnknownClient = ({ status, body }: Answer) => status === 401 && body?.error === 'invalid_client'

/** Every place that takes a credential, by the kind of credential. */
export async function surfacesOf(service: TestService, watcher: string) {
  const introspected = surfaceAt(
    'POST /oauth/introspect: as the token',
    (at, { text }) => call(at, 'POST /oauth/introspect', { form: { token: text }, bearer: watcher }),
    ({ body }) => body?.active === true,
    ({ status, text }) => status === 200 && text === '{"active":false}',
  )
  const introspecting = surfaceAt(
    'POST /oauth/introspect: as the caller',
    (at, { text }) => call(at, 'POST /oauth/introspect', { form: { token: 'x' }, bearer: text }),
    isKnownClient,
    isUnknownClient,
  )
  const verified = surfaceAt(
    'POST /keys/verify: as the key',
    (at, { text }) => call(at, 'POST /keys/verify', { bearer: watcher, json: { key: text, cost: 0 } }),
    ({ body }) => body?.valid === true,
    ({ status, body }) => status === 200 && body?.valid === false,
  )
  const verifiedAny = surfaceAt(
    'POST /verify: as the credential',
    (at, { text, resource }) =>
      call(at, 'POST /verify', {
        bearer: watcher,
        json: { credential: text, cost: 0, ...(resource && { resource: resource.identifier }) },
      }),
    ({ body }) => body?.valid === true,
    ({ status, body }) => status === 200 && body?.valid === false,
  )
  const askedAtResource = surfaceAt(
    'GET /forward-auth: with the resource',
    (at, { text, resource }) => call(at, `GET /forward-auth?resource=${resource?.slug}`, { bearer: text }),
    ({ status, headers }) => status === 200 && ['client', 'key'].includes(headers.get('x-auth-type') ?? ''),
    // The slug of a deleted resource is no policy any more.
    (answer) => isRefused(answer) || (answer.status === 400 && answer.body?.code === 'invalid_request'),
  )
  const userInfo = surfaceAt(
    'GET /oauth/userinfo',
    (at, { text }) => call(at, 'GET /oauth/userinfo', { bearer: text }),
    ({ status }) => status === 200,
    isRefused,
  )
  const byHeader = ['GET /auth/me', 'GET /protected/any', 'GET /forward-auth'].map(
    (route): Surface => ({
      name: `${route}: X-API-Key`,
      isHarmless: true,
      present: (at, { text }) => call(at, route, { apiKey: text }),
      isAccepted: ({ status }) => status === 200,
      isRefused,
    }),
  )
  const asked = surfaceAt(
    'PUT /forward-auth/any/a/path',
    (at, { text }) => call(at, 'PUT /forward-auth/any/a/path', { bearer: text }),
    ({ status, headers }) => status === 200 && headers.get('x-auth-subject') !== '',
    isRefused,
  )
  const asClient = [
    surfaceAt(
      'POST /oauth/token: client_credentials, Basic',
      (at, { text, account = '' }) =>
        call(at, 'POST /oauth/token', {
          form: { grant_type: 'client_credentials' },
          headers: basic(account, text),
        }),
      ({ status }) => status === 200,
      isUnknownClient,
    ),
    surfaceAt(
      'POST /oauth/token: client_credentials, in the form',
      (at, { text, account = '' }) => {
        const form = { grant_type: 'client_credentials', client_id: account, client_secret: text }
        return call(at, 'POST /oauth/token', { form })
      },
      ({ status }) => status === 200,
      isUnknownClient,
    ),
    ...['introspect', 'revoke'].map((endpoint) =>
      surfaceAt(
        `POST /oauth/${endpoint}: as the client`,
        (at, { text, account = '' }) =>
          call(at, `POST /oauth/${endpoint}`, { form: { token: 'x' }, headers: basic(account, text) }),
        isKnownClient,
        isUnknownClient,
      ),
    ),
  ]
  const trade = async (answer: Promise<Answer>, credential: Credential) => {
    const got = await answer
    if (got.status === 200) credential.text = got.body.refresh_token
    return got
  }
  const traded = [
    surfaceAt(
      'POST /auth/refresh',
      (at, credential) => trade(refresh(at, credential.text), credential),
      ({ status }) => status === 200,
      isRefused,
    ),
    surfaceAt(
      'POST /oauth/token: refresh_token',
      (at, credential) => {
        const form = { grant_type: 'refresh_token', refresh_token: credential.text }
        return trade(call(at, 'POST /oauth/token', { form }), credential)
      },
      ({ status }) => status === 200,
      ({ status, body }) => status === 400 && body?.error === 'invalid_grant',
    ),
  ]
  const refreshed = surfaceAt(
    'POST /oauth/token: refresh_token, as the app',
    (at, credential) => {
      const { clientId: client_id = '', text } = credential
      const form = { grant_type: 'refresh_token', refresh_token: text, client_id }
      return trade(call(at, 'POST /oauth/token', { form }), credential)
    },
    ({ status }) => status === 200,
    // A client that is gone or disabled is unknown; a resource that is disabled is no target.
    ({ status, body }) =>
      (status === 401 && body?.error === 'invalid_client') ||
      (status === 400 && ['invalid_grant', 'invalid_target'].includes(body?.error)),
  )
  const options = surfaceAt(
    'POST /auth/passkeys/login/options',
    (at, { text }) => call(at, 'POST /auth/passkeys/login/options', { json: { mfa_token: text } }),
    ({ status }) => status === 200,
    isRefused,
  )
  /** A wrong code at a live step would count. */
  const finished: Surface = {
    ...options,
    name: 'POST /auth/login/mfa',
    isHarmless: false,
    present: (at, { text }) =>
      call(at, 'POST /auth/login/mfa', { json: { mfa_token: text, recovery_code: 'none' } }),
  }
  const bySession = surfaceAt(
    'POST /session/token',
    (at, { text }) => ask(at, 'POST /session/token', { headers: { cookie: text } }),
    ({ status }) => status === 200,
    ({ status, body }) => status === 401 && body?.code === 'missing_credential',
  )
  const byPage = surfaceAt(
    'GET /login',
    (at, { text }) => ask(at, 'GET /login', { headers: { cookie: text } }),
    ({ status }) => status === 303,
    ({ status, text }) => status === 200 && text.includes('name="password"'),
  )
  const everywhere = [...(await guardedRoutes(service)), introspected, introspecting, asked]
  const ownRoutes = (await guardedRoutes(service)).filter(({ name }) => !name.includes('forward-auth'))
  const fewRoutes = ownRoutes.filter(({ name }) => ['GET /auth/me', 'POST /keys/create'].includes(name))
  const ofApps = [...ownRoutes, introspected, introspecting, verifiedAny, askedAtResource]
  return {
    access: [...everywhere, verifiedAny],
    refresh: [...traded, introspected],
    key: [...everywhere, verified, verifiedAny, ...byHeader],
    'account key': [...everywhere, verified, verifiedAny, ...byHeader, ...asClient],
    'account token': [...everywhere, verified, verifiedAny],
    // Introspection and forward-auth know no portal session, alive or not.
    portal: [...ownRoutes, introspecting],
    // A route that is closed to an app says so, with 403, as long as the token lives.
    app: ofApps,
    'own app': ofApps,
    'first-party app': [...everywhere, verifiedAny, userInfo],
    'signed-in app': [userInfo, ...fewRoutes, introspected, introspecting],
    'app refresh': [introspected, refreshed],
    // It is for one resource alone, like the token of an app, which is tried at every route.
    exchanged: [...fewRoutes, introspected, introspecting, verifiedAny, askedAtResource],
    step: [options, finished],
    cookie: [bySession, byPage],
  } satisfies Record<Credential['kind'], Surface[]>
}

/** A person with two sessions, two keys, and a service account with two keys, each with an access token. */
export type Household = Awaited<ReturnType<typeof newHousehold>>

/**
 * Makes a household.
 * @param keyJson the settings of its keys
 */
export async function newHousehold(
  service: TestService,
  sql: postgres.Sql,
  keyJson: Record<string, unknown> = {},
) {
  const person: AddedPerson = await addPerson(sql, { scopes: ['read', 'write', PORTAL] })
  const sessions = [await beginSession(service, person), await beginSession(service, person)] as const
  const bearer = sessions[1].access
  const json = { name: 'builder', scopes: ['read', KEYS_WRITE] }
  const account: string = (await call(service, 'POST /service-accounts', { bearer, json })).body.id
  const make = (more: Record<string, unknown>) =>
    newKey(service, bearer, { scopes: ['read', KEYS_WRITE], ...keyJson, ...more })
  const keys = [await make({ scopes: ['read', KEYS_WRITE, PORTAL] }), await make({})] as const
  const accountKeys = [
    await make({ service_account_id: account }),
    await make({ service_account_id: account }),
  ] as const
  const tokenOf = async ({ key }: { key: string }): Promise<string> => {
    const form = { grant_type: 'client_credentials', client_id: account, client_secret: key }
    return (await call(service, 'POST /oauth/token', { form })).body.access_token
  }
  const portalAdmin = await addLoggedIn(service, sql, { role: 'admin' })
  const portal = { scopes: ['read'], may: ['create'] }
  const portals = [
    await openPortal(service, { apiKey: keys[0].key }, { ...portal, service_account_id: account }),
    await openPortal(service, { bearer: portalAdmin.access }, { ...portal, user_id: person.id }),
  ] as const
  const resource = await addResource(sql, ['read'])
  const own = { slug: OWN_SLUG, identifier: `${service.config.publicUrl}/${OWN_SLUG}` }
  const ownScopes = ['read', KEYS_WRITE]
  const apps = {
    reader: await addApp(sql),
    keeper: await addApp(sql, { scopes: ownScopes }),
    ours: await addApp(sql, { firstParty: true }),
  }
  const allow = (app: keyof typeof apps, allowed: Parameters<typeof allowApp>[4]) =>
    allowApp(service, sql, apps[app], person.id, allowed)
  const allowed = {
    reader: await allow('reader', { resource }),
    signIn: await allow('reader', { audience: 'userinfo', scopes: [], identityScopes: ['openid'] }),
    keeper: await allow('keeper', { audience: 'latchkey', scopes: ownScopes }),
    ours: await allow('ours', { audience: 'users', scopes: null, identityScopes: ['openid'], role: 'user' }),
  }
  const { cookie } = await signIn(service, { email: person.email, password: PASSWORD })
  const ofBrowser = await ask(service, 'POST /session/token', { headers: { cookie } })
  const of = (name: string, kind: Credential['kind'], text: string): Credential => ({
    name,
    kind,
    text,
    account,
  })
  const credentials = {
    access0: of('an access token', 'access', sessions[0].access),
    refresh0: of('a refresh token', 'refresh', sessions[0].refresh),
    access1: of('another session’s access token', 'access', sessions[1].access),
    refresh1: of('another session’s refresh token', 'refresh', sessions[1].refresh),
    key0: of('a user’s key', 'key', keys[0].key),
    key1: of('another key of the user', 'key', keys[1].key),
    accountKey0: of('a service account’s key', 'account key', accountKeys[0].key),
    accountToken0: of('a service account’s token', 'account token', await tokenOf(accountKeys[0])),
    accountKey1: of('another key of the account', 'account key', accountKeys[1].key),
    cookie: of('a browser’s cookie', 'cookie', cookie),
    browserToken: of('a token of that browser', 'access', ofBrowser.body.access_token),
    step: of('a pending second step', 'step', await beginSecondStep(service, sql, person)),
    app0: { ...of('an app’s token', 'app', allowed.reader.access), resource },
    appRefresh0: {
      ...of('the refresh token of that app', 'app refresh', allowed.reader.refresh),
      clientId: apps.reader.clientId,
    },
    signedIn0: of('the token by which that app knows the person', 'signed-in app', allowed.signIn.access),
    ownApp0: { ...of('an app’s token for Latchkey itself', 'own app', allowed.keeper.access), resource: own },
    ours0: of('a first-party app’s token', 'first-party app', allowed.ours.access),
    exchanged0: {
      ...of(
        'a token for which a key was exchanged',
        'exchanged',
        await exchangeKey(service, sql, keys[0].id, resource),
      ),
      resource,
    },
    portal0: of('a portal session that a key made', 'portal', portals[0].bearer),
    portal1: of('a portal session that an admin made', 'portal', portals[1].bearer),
    accountToken1: of('a token by the other key', 'account token', await tokenOf(accountKeys[1])),
  }
  const apart = { person, sessions, account, keys, accountKeys, portals, portalAdmin }
  return { ...apart, apps, allowed, resource, credentials }
}

/** Gives somebody an authenticator app, whose sessions go on, and takes the first step of another log-in. */
async function beginSecondStep(
  service: TestService,
  sql: postgres.Sql,
  person: AddedPerson,
): Promise<string> {
  await sql`INSERT INTO latchkey.totp_secrets (id, user_id, secret, created_at, confirmed_at)
    VALUES (gen_random_uuid(), ${person.id}, '\\x00', now(), now())`
  await sql`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${person.id}`
  const json = { email: person.email, password: PASSWORD }
  return (await call(service, 'POST /auth/login', { json })).body.mfa_token
}

/**
 * Presents a credential until the server has cached it. A test with an empty cache would not test eviction.
 */
export async function warm(at: TestService, { kind, name, text }: Credential): Promise<void> {
  if (!isRemembered(kind)) return
  await until(
    async () =>
      [200, 403].includes((await call(at, 'GET /auth/me', { bearer: text })).status) &&
      recallCredential(at.context, text) !== null,
    `the server remembers ${name}`,
  )
}

/** Whether servers remember credentials of a kind; of the others each asks the database. */
export const isRemembered = (kind: Credential['kind']): boolean =>
  !['refresh', 'step', 'cookie', 'app refresh'].includes(kind)
