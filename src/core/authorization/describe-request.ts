import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { findGrant, hostOf, nameOfAudience } from '../grants/grants.ts'
import { identifierOf } from '../resources/audience.ts'
import type { ResourceRow } from '../resources/rows.ts'
import type { BrowserSession } from '../sessions/browser.ts'
import type { RequestRow } from './queries.ts'
import { isLoopbackUri } from './resolve-client.ts'
import { isIdentityScope } from './target.ts'

/** One scope on the page. `isFixed`: it goes with the rest, and cannot be unticked. */
export type ShownScope = { name: string; words: string; wasAllowed: boolean; isFixed: boolean }

/** What a page says of that for which an app asks. */
export type AskedView = {
  requestId: string
  email: string
  client: { name: string; host: string | null; source: ClientRow['source'] }
  resource: { name: string; identifier: string }
  /** Whether the app asks for all that the person has. */
  isEverything: boolean
  scopes: ShownScope[]
  /** What the person allowed the app before, and it does not ask for now. */
  earlier: string[]
}

/** What the page of consent says. */
export type ConsentView = AskedView & {
  /** Where the browser goes with the answer. */
  redirect: { host: string; isLoopback: boolean }
}

type Parties = { client: ClientRow; resource: ResourceRow | null }

/** Says in words what an app asks of a person. */
export async function describeRequest(
  context: Context,
  here: BrowserSession,
  { request, ...parties }: Parties & { request: RequestRow },
): Promise<ConsentView> {
  const { redirectUri } = request
  const redirect = { host: placeOf(redirectUri), isLoopback: isLoopbackUri(redirectUri) }
  return { ...(await describeAsked(context, here, { request, ...parties })), redirect }
}

/** The same of what an app asks in any way. */
export async function describeAsked(
  context: Context,
  { user }: BrowserSession,
  { request, client, resource }: Parties & { request: Pick<RequestRow, 'id' | 'audience' | 'scopes'> },
): Promise<AskedView> {
  const { audience, scopes } = request
  const grant = await findGrant(context.db, {
    userId: user.id,
    clientId: client.id,
    target: { audience, resource },
  })
  const before = grant?.scopes ?? []
  return {
    requestId: request.id,
    email: user.email,
    client: { name: client.name, host: hostOf(client), source: client.source },
    resource: {
      name: resource?.name ?? nameOfAudience(context, audience),
      identifier: identifierOf(context.config, { audience, resource }),
    },
    isEverything: client.scopes === null && isEverything(request),
    scopes: scopes.map((name) => ({
      name,
      words: wordsOf(name, resource),
      wasAllowed: before.includes(name),
      isFixed: name === 'openid',
    })),
    earlier: before.filter((name) => !scopes.includes(name)).map((name) => wordsOf(name, resource)),
  }
}

/** Whether a request is for all that the person has: it names no scope of Latchkey's own API. */
export const isEverything = ({ audience, scopes }: Pick<RequestRow, 'audience' | 'scopes'>): boolean =>
  audience === 'users' && scopes.every(isIdentityScope)

/** The host of a redirect URI; the URI's scheme where it has none, as an app on a phone. */
function placeOf(uri: string): string {
  const url = URL.parse(uri)
  return url?.host || (url?.protocol.replace(/:$/, '') ?? uri)
}

const WORDS = new Map([
  ['openid', 'Know who you are: an id of your account'],
  ['email', 'See your e-mail address'],
  ['profile', 'See when your account was last changed'],
  ['latchkey:keys.read', 'See your API keys'],
  ['latchkey:keys.write', 'Make, change and revoke API keys for you'],
  ['latchkey:keys.label', 'Label API keys'],
  ['latchkey:users.read', 'See the accounts of people'],
  ['latchkey:users.write', 'Make and change the accounts of people'],
  ['latchkey:audit.read', 'Read the audit trail'],
  ['latchkey:verify', 'Check credentials'],
  ['latchkey:introspect', 'See what a token is'],
  ['latchkey:service-accounts.read', 'See service accounts'],
  ['latchkey:service-accounts.write', 'Make and change service accounts'],
  ['latchkey:portal', 'Open the portal for customers'],
  ['latchkey:support', 'Read what admins read, disable and revoke'],
])

/** A scope in words: its resource's, ours, or none. */
function wordsOf(name: string, resource: ResourceRow | null): string {
  const described = resource?.scopes.find((scope) => scope.name === name)?.description
  return described || (WORDS.get(name) ?? `Use what is called “${name}”`)
}
