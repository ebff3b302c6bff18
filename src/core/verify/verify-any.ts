import { covers } from '../../lib/scopes.ts'
import { formatInstant } from '../../lib/time.ts'
import { isAccessToken } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import type { ClientPrincipal, Principal, Refusal, UserPrincipal } from '../principal.ts'
import { claimsOf } from '../signing/claims.ts'
import { isMadeFor } from './made-for.ts'
import type { VerifyAnyRequest, VerifyAnyResult } from './model.ts'
import { explainToken, recallCredential, verifyCredential } from './verify-credential.ts'
import { type Purpose, readPurpose, useForPurpose } from './verify-key.ts'

type Asked = Purpose & {
  /** The identifier of the resource that the asking service protects; null: it protects none. */
  resource: string | null
}

/**
 * Verifies whatever was presented to a service: a key as `/keys/verify` does, with its limits and credits, or the access
 * token of a person or an app. The checks run in the order of oauth.md, section 10.
 * @throws Problem validation_failed for scopes that cannot be read
 */
export async function verifyAny(
  context: Context,
  { credential, resource, ...purpose }: VerifyAnyRequest,
): Promise<VerifyAnyResult> {
  const asked: Asked = { ...readPurpose(purpose, ''), resource: resource ?? null }
  const verdict = recallCredential(context, credential) ?? (await verifyCredential(context, credential))
  if (verdict.kind !== 'refused') return decide(context, verdict, asked)
  const isToken = verdict.code === 'NOT_FOUND' && isAccessToken(credential)
  return presentRefusal(context, isToken ? await explainToken(context, credential) : verdict, asked)
}

const NOT_FOUND: VerifyAnyResult = { valid: false, code: 'NOT_FOUND' }

function presentRefusal(context: Context, { code, keyId }: Refusal, { ip }: Asked): VerifyAnyResult {
  if (code === 'NOT_FOUND') return NOT_FOUND
  if (keyId === undefined) return { valid: false, code }
  context.usage.refuse(keyId, code, ip)
  return { valid: false, code, kind: 'key', key_id: keyId }
}

async function decide(context: Context, principal: Principal, asked: Asked): Promise<VerifyAnyResult> {
  if (principal.kind === 'portal') return NOT_FOUND
  const { kind } = principal
  const isHere = isMadeFor(principal, asked.resource)
  if (kind !== 'key') return isHere ? decidePerson(principal, asked) : { ...refusal(kind, 'WRONG_RESOURCE') }
  if (!isHere) return { ...refusal(kind, 'WRONG_RESOURCE'), key_id: principal.keyId }
  const used = await useForPurpose(context, principal, 'verify', asked)
  if (!used.valid) return { ...used, kind }
  const { resource, owner } = principal
  return { ...used, kind, subject: owner.id, ...(resource && { resource: resource.identifier }) }
}

const refusal = (kind: 'key' | 'user' | 'client', code: string) => ({ valid: false, code, kind })

function decidePerson(principal: UserPrincipal | ClientPrincipal, { scopes }: Asked): VerifyAnyResult {
  const { kind, userId: subject, client, claims } = principal
  if (principal.isEnrolmentDue) return refusal(kind, 'MFA_ENROLMENT_REQUIRED')
  const missing = scopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) return { ...refusal(kind, 'INSUFFICIENT_SCOPE'), missing_scopes: missing }
  const { email, emailVerified } = kind === 'user' ? principal : principal.owner
  return {
    valid: true,
    code: 'VALID',
    kind,
    subject,
    scopes: [...principal.scopes],
    expires_at: formatInstant(new Date(claims.expiresAtMs)),
    ...(client && { client_id: client.clientId, grant_id: client.grantId }),
    ...(kind === 'user' ? { role: principal.role } : { resource: principal.resource.identifier }),
    ...(emailVerified && { email }),
    email_verified: emailVerified,
    ...claimsOf(principal),
  }
}
