import { BEARER_CHALLENGE, fail } from '../../lib/errors.ts'
import type { ClientPrincipal, Principal, Refusal, UserPrincipal } from '../principal.ts'
import type { UserInfo } from './model.ts'

/**
 * What an app learns of its person (OpenID Connect Core, section 5.3): of tokens that were made for this, and of a
 * first-party app's.
 * @throws Problem invalid_token, insufficient_scope
 */
export function describePerson(principal: Principal | Refusal): UserInfo {
  const { person, scopes } = personOf(principal) ?? fail('invalid_token')
  if (person.isEnrolmentDue) fail('mfa_enrolment_required')
  if (!scopes.includes('openid'))
    fail('insufficient_scope', {
      headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope", scope="openid"` },
    })
  const { id, email, emailVerified, createdAt } = person
  return {
    sub: id,
    ...(scopes.includes('email') && { email, email_verified: emailVerified }),
    ...(scopes.includes('profile') && { updated_at: Math.floor(createdAt.getTime() / 1000) }),
  }
}

type Person = Pick<UserPrincipal, 'email' | 'emailVerified' | 'createdAt' | 'isEnrolmentDue'> & { id: string }

function personOf(principal: Principal | Refusal): { person: Person; scopes: readonly string[] } | null {
  if (principal.kind === 'client') return personOfApp(principal)
  if (principal.kind !== 'user' || principal.client === null) return null
  return { person: { ...principal, id: principal.userId }, scopes: principal.identityScopes }
}

/** A token that was made for another audience is refused. */
function personOfApp({ resource, owner, isEnrolmentDue, identityScopes }: ClientPrincipal) {
  if (resource.audience !== 'userinfo') return null
  return { person: { ...owner, isEnrolmentDue }, scopes: identityScopes }
}
