import { findRedirectUriFault, MAX_REDIRECT_URIS } from './redirect-uris.ts'

const MAX_NAME_LENGTH = 100
/** Control characters, those that turn the direction of text, and line breaks: such a name could look like another one. */
const UNREADABLE = /[\p{C}\p{Zl}\p{Zp}]/u
/** Letters and signs that show nothing: a name of these alone looks like none. */
const BLANK = /[\s\p{M}\u115f\u1160\u2800\u3164\uffa0]/gu

/** The grants that an app may declare which no admin registered. */
const GRANTS = ['authorization_code', 'refresh_token']

/** What an app declares of itself, in the words of RFC 7591. Any member may be anything. */
export type Metadata = Readonly<Record<string, unknown>>

/** What an app that no admin registered is stored with. */
export type DeclaredApp = { name: string; redirectUris: string[]; grants: string[] }

/** Why an app is refused: a sentence, and whether its redirect URIs are at fault. */
export type AppFault = { fault: string; isOfRedirectUris: boolean }

/**
 * Reads what an app declares of itself: its name, redirect URIs and grants (RFC 7591, section 2).
 * @param isLenient whether redirect URIs that no app may have are left out while one remains, instead of refused
 * @returns the app, or why it is refused
 */
export function readDeclared(metadata: Metadata, isLenient: boolean): DeclaredApp | AppFault {
  const uris = readRedirectUris(metadata.redirect_uris, isLenient)
  if ('fault' in uris) return { ...uris, isOfRedirectUris: true }
  const name = readName(metadata.client_name, uris.redirectUris)
  if (name === null)
    return fault(`Its client_name must be a text of 1 to ${MAX_NAME_LENGTH} characters, on one line.`)
  const grants = readGrants(metadata.grant_types)
  if (grants === null) return fault('Its grant_types must have authorization_code.')
  const { response_types: types = ['code'] } = metadata
  if (!Array.isArray(types) || !types.includes('code')) return fault('Its response_types must have code.')
  return { name, redirectUris: uris.redirectUris, grants }
}

const fault = (sentence: string): AppFault => ({ fault: sentence, isOfRedirectUris: false })

function readRedirectUris(
  given: unknown,
  isLenient: boolean,
): { redirectUris: string[] } | { fault: string } {
  const isList = Array.isArray(given) && given.length > 0 && given.length <= MAX_REDIRECT_URIS
  if (!isList || !given.every((uri) => typeof uri === 'string'))
    return { fault: `Its redirect_uris must be a list of 1 to ${MAX_REDIRECT_URIS} texts.` }
  const judged = given.map((uri) => ({ uri, refusal: findRedirectUriFault(uri) }))
  const redirectUris = judged.filter(({ refusal }) => refusal === null).map(({ uri }) => uri)
  const [first] = judged.flatMap(({ refusal }) => refusal ?? [])
  if (first !== undefined && (!isLenient || redirectUris.length === 0))
    return { fault: `One of its redirect_uris cannot be used: ${first}.` }
  return { redirectUris: [...new Set(redirectUris)] }
}

/** Without a name, an app is called by the host to which it leads. */
function readName(given: unknown, [first = '']: readonly string[]): string | null {
  if (given === undefined) return new URL(first).hostname.slice(0, MAX_NAME_LENGTH)
  if (typeof given !== 'string') return null
  const isGood = given.replace(BLANK, '') !== '' && given.length <= MAX_NAME_LENGTH && !UNREADABLE.test(given)
  return isGood ? given : null
}

function readGrants(given: unknown): string[] | null {
  if (given === undefined) return ['authorization_code']
  if (!Array.isArray(given)) return null
  const grants = GRANTS.filter((grant) => given.includes(grant))
  return grants.includes('authorization_code') ? grants : null
}
