import { createHash, randomBytes } from 'node:crypto'
import type postgres from 'postgres'
import type { ResourceScope } from '../../src/db/oauth.ts'
import { hashToken, makeApiKey } from '../../src/lib/tokens.ts'
import { ask, signIn } from './browser.ts'
import { type Answer, type Call, call } from './client.ts'
import { type AddedPerson, addPerson, PASSWORD } from './people.ts'
import type { TestService } from './service.ts'

/** An app, as its row has it. `secret`: of a confidential one. */
export type App = { id: string; clientId: string; redirectUri: string; secret: string | null }
/** An API for which apps get tokens. */
export type Api = { id: string; identifier: string; slug: string }

/** Inserts an app. */
export async function addApp(
  sql: postgres.Sql,
  more: {
    kind?: 'public' | 'confidential'
    source?: 'registered' | 'metadata' | 'dynamic'
    clientId?: string
    redirectUris?: string[]
    grants?: string[]
    scopes?: string[] | null
    firstParty?: boolean
    name?: string
  } = {},
): Promise<App> {
  const id = Bun.randomUUIDv7()
  const { kind = 'public', source = 'registered', clientId = id, scopes = null, firstParty = false } = more
  const { grants = ['authorization_code', 'refresh_token'], name = 'Notebook' } = more
  const redirectUris = more.redirectUris ?? ['https://app.example.com/callback']
  await sql`INSERT INTO latchkey.oauth_clients
      (id, client_id, source, kind, name, redirect_uris, grants, scopes, first_party, created_at)
    VALUES (${id}, ${clientId}, ${source}, ${kind}, ${name}, ${redirectUris}, ${grants}, ${scopes}, ${firstParty}, now())`
  const secret = kind === 'confidential' ? makeApiKey('cs_') : null
  if (secret !== null)
    await sql`INSERT INTO latchkey.oauth_client_secrets (id, client_id, hash, start, created_at)
      VALUES (${Bun.randomUUIDv7()}, ${id}, ${Buffer.from(hashToken(secret))}, 'cs_', now())`
  return { id, clientId, redirectUri: redirectUris[0] ?? '', secret }
}

const SCOPES: ResourceScope[] = [
  { name: 'notes.read', description: 'Read your notes', grantable_by: 'everyone' },
  { name: 'notes.write', description: 'Write notes for you', grantable_by: 'everyone' },
  { name: 'notes.purge', description: 'Delete notes for good', grantable_by: 'ceiling' },
]

/** Inserts a resource, with the scopes `notes.read`, `notes.write` and, within the ceiling, `notes.purge`. */
export async function addApi(
  sql: postgres.Sql,
  more: { scopes?: ResourceScope[]; lifetime?: number } = {},
): Promise<Api> {
  const id = Bun.randomUUIDv7()
  const slug = `notes-${id}`.slice(0, 50)
  const identifier = `https://${slug}.example.com/api`
  await sql`INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, token_lifetime_seconds, created_at)
    VALUES (${id}, ${identifier}, ${slug}, 'Notes', ${sql.json(more.scopes ?? SCOPES)}, ${more.lifetime ?? null}, now())`
  return { id, identifier, slug }
}

/** A person who is signed in at a browser. */
export type AtBrowser = AddedPerson & { cookie: string }

export async function addAtBrowser(
  service: TestService,
  sql: postgres.Sql,
  more: Parameters<typeof addPerson>[1] = {},
): Promise<AtBrowser> {
  const person = await addPerson(sql, more)
  return { ...person, ...(await signIn(service, { email: person.email, password: PASSWORD })) }
}

/** A proof of PKCE and its challenge. */
export function newProof(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url')
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') }
}

/** The query of a right request; a member that is null is left out. */
export function queryOf(
  app: Pick<App, 'clientId' | 'redirectUri'>,
  challenge: string,
  more: Record<string, string | null> = {},
): string {
  const all = {
    client_id: app.clientId,
    redirect_uri: app.redirectUri,
    response_type: 'code',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state: 'st4te',
    ...more,
  }
  const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null)
  return new URLSearchParams(given).toString()
}

/** Opens the authorization endpoint as a browser does that followed a link of the app. */
export function open(
  service: Pick<TestService, 'url'>,
  query: string,
  person: { cookie: string } | null = null,
): Promise<Answer> {
  const headers = { 'sec-fetch-site': 'cross-site', ...(person && { cookie: person.cookie }) }
  return call(service, `GET /oauth/authorize?${query}`, { headers })
}

/** The id of the request on a page of consent. */
export function requestOf({ text }: Pick<Answer, 'text'>): string {
  const [, id] = /name="request" value="([^"]+)"/.exec(text) ?? []
  if (id === undefined) throw new Error(`No page of consent: ${text}`)
  return id
}

/** Posts a page of consent; all of `scopes` ticked. */
export function decide(
  service: Pick<TestService, 'url'>,
  person: { cookie: string },
  request: string,
  {
    decision = 'allow',
    scopes = [],
    headers = {},
  }: { decision?: string; scopes?: string[]; headers?: Call['headers'] } = {},
): Promise<Answer> {
  const ticked = Object.fromEntries(scopes.map((scope) => [`scope.${scope}`, 'on']))
  return ask(service, 'POST /oauth/consent', {
    form: { request, decision, ...ticked },
    headers: { cookie: person.cookie, ...headers },
  })
}

/** Where a page sends the browser on by itself; null where it does not. */
export function onwardsOf({ text }: Pick<Answer, 'text'>): URL | null {
  const [, to] = /http-equiv="refresh" content="0;url=([^"]+)"/.exec(text) ?? []
  return to === undefined ? null : new URL(to.replaceAll('&amp;', '&'), 'http://localhost')
}

/** Where an answer sends the browser, by a redirect or by a page. */
export function placeOf(answer: Answer): URL {
  const location = answer.headers.get('location')
  const to = location === null ? onwardsOf(answer) : new URL(location, 'http://localhost')
  if (to === null) throw new Error(`Leads nowhere: ${answer.status} ${answer.text}`)
  return to
}

/** A code with all that it takes to trade it. */
export type Code = { code: string; verifier: string; redirectUri: string }

/** Goes through the pages: the app asks, and the person allows all of `scopes`. */
export async function newCode(
  service: Pick<TestService, 'url'>,
  person: { cookie: string },
  app: App,
  { scopes = [], ...more }: { scopes?: string[] } & Record<string, string | null | string[]> = {},
): Promise<Code> {
  const { verifier, challenge } = newProof()
  const asked: Record<string, string> = {
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    ...(more as Record<string, string>),
  }
  const redirectUri = asked.redirect_uri ?? app.redirectUri
  const page = await open(service, queryOf(app, challenge, asked), person)
  const shown = [...page.text.matchAll(/name="scope\.([^"]+)"/g)].map(([, name]) => name ?? '')
  const answer =
    page.status === 302 ? page : await decide(service, person, requestOf(page), { scopes: shown })
  const code = placeOf(answer).searchParams.get('code')
  if (code === null) throw new Error(`No code: ${answer.status} ${placeOf(answer)}`)
  return { code, verifier, redirectUri }
}

/** Asks the token endpoint as an app: with its secret where it has one, else by its name. */
export function askTokens(
  service: Pick<TestService, 'url'>,
  app: Pick<App, 'clientId' | 'secret'>,
  form: Record<string, string>,
): Promise<Answer> {
  const secret = app.secret === null ? {} : { client_secret: app.secret }
  return call(service, 'POST /oauth/token', { form: { client_id: app.clientId, ...secret, ...form } })
}

export function trade(
  service: Pick<TestService, 'url'>,
  app: App,
  { code, verifier, redirectUri }: Code,
  more: Record<string, string> = {},
): Promise<Answer> {
  const form = { code, redirect_uri: redirectUri, code_verifier: verifier, ...more }
  return askTokens(service, app, { grant_type: 'authorization_code', ...form })
}

export const refresh = (
  service: Pick<TestService, 'url'>,
  app: App,
  token: string,
  more: Record<string, string> = {},
): Promise<Answer> => askTokens(service, app, { grant_type: 'refresh_token', refresh_token: token, ...more })
