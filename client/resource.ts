import { isLasting, MAX_LENGTH, readAnswer } from './api-key.ts'
import { ask, fetchJson, type Latchkey } from './ask.ts'
import type { Need } from './need.ts'
import type { ClientPrincipal, KeyPrincipal } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** What a client of the resource learns before it asks for a token (RFC 9728, section 2). */
export type ResourceMetadata = {
  resource: string
  resource_name: string
  authorization_servers: readonly string[]
  scopes_supported: readonly string[]
  bearer_methods_supported: readonly string[]
}

/**
 * Asks Latchkey to verify a credential for a resource: a key, or a token that was made for that resource. Answers are kept as
 * those about keys are (`verifyKey`).
 * @throws Error where Latchkey cannot answer
 */
export async function verifyAtResource(
  latchkey: Latchkey,
  answers: SharedAnswers,
  credential: string,
  resource: string,
  ip: string | undefined,
  need: Need,
): Promise<KeyPrincipal | ClientPrincipal | Refusal> {
  if (credential.length > MAX_LENGTH) return refuse('invalid_token')
  const { scopes = [], cost } = need
  const question = JSON.stringify({ credential, resource, scopes, ip, cost })
  const verdict = await answers.get(
    ['credential', credential, ip],
    async () => readAnswer(await ask(latchkey, '/verify', question, 'application/json')),
    isLasting,
  )
  if (verdict.kind === 'refused') return verdict
  const missing = scopes.filter((scope) => !verdict.scopes.includes(scope))
  return missing.length === 0 ? verdict : refuse('insufficient_scope', { missing })
}

/**
 * The metadata of a resource, as Latchkey publishes them.
 * @throws Error where Latchkey cannot answer, or does not know the resource
 */
export async function fetchMetadata(
  latchkey: Omit<Latchkey, 'key'>,
  resource: string,
): Promise<ResourceMetadata> {
  const path = `/.well-known/oauth-protected-resource/${encodeURIComponent(resource)}`
  const metadata = (await fetchJson(latchkey, path)) as ResourceMetadata | null
  if (metadata?.resource !== resource) throw new Error('Not the metadata of the resource')
  return metadata
}

/** Where the metadata of a resource are (RFC 9728, section 3.1). */
function metadataUrlOf(identifier: string): string {
  const [, origin = '', rest = ''] = /^(https?:\/\/[^/?]*)([\s\S]*)$/.exec(identifier) ?? []
  const path = rest.startsWith('/?') || rest === '/' ? rest.slice(1) : rest
  return `${origin}/.well-known/oauth-protected-resource${path}`
}

const quote = (text: string) =>
  `"${text.replace(/[^!#-[\]-~]+/g, (part) => encodeURIComponent(part.toWellFormed()))}"`

/** A refusal that also says where tokens for the resource come from, and all scopes that are needed. */
export function challengeAt(resource: string, refusal: Refusal, scopes: readonly string[] = []): Refusal {
  if (refusal.status !== 401 && refusal.status !== 403) return refusal
  const plain = refusal.headers['www-authenticate'] ?? 'Bearer realm="latchkey"'
  const needed = scopes.length === 0 ? '' : `, scope="${scopes.join(' ')}"`
  const where = `resource_metadata=${quote(metadataUrlOf(resource))}${needed}`
  const challenge = `${plain.replace(/, scope="[^"]*"/, '')}, ${where}`
  return Object.freeze({
    ...refusal,
    headers: Object.freeze({ ...refusal.headers, 'www-authenticate': challenge }),
  })
}
