import { parseInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import type { RegionAnswer, RegionQuestion } from '../verifier/model.ts'
import type { Region } from '../verifier/region.ts'
import type { RateState } from './rates.ts'
import { permitRates, refusalOf, type Use, type UseOutcome } from './use-key-here.ts'

/** Whether home has to say what comes of a use: it alone has the credits, and the rates unless the region counts them. */
export function isAskedAtHome({ countsRates }: Region, key: KeyPrincipal, { cost }: Use): boolean {
  const isCharged = cost !== null && cost > 0 && (key.hasCredits || key.hasOwnerCredits)
  return isCharged || (countsRates === 'home' && key.rates !== null)
}

/**
 * Asks home what comes of a use. Home's answer wins, whatever the copy says, and home counts and records the use. Where the
 * region counts rates, it counts them first.
 * @throws Problem unavailable
 */
export async function useKeyAtHome(
  context: Context,
  region: Region,
  key: KeyPrincipal,
  use: Use,
): Promise<UseOutcome> {
  const isCounted = region.countsRates === 'local' && key.rates !== null
  const here = isCounted ? await takeRates(context, key, use) : null
  if (here !== null && here.code !== 'VALID') {
    context.usage.refuse(key.keyId, here.code, use.address)
    return here
  }
  const answer = await region.home.ask(questionOf(region, key, use))
  const outcome = readAnswer(key, answer)
  return outcome.code === 'VALID' && here !== null ? { ...outcome, rates: here.rates } : outcome
}

/** What the region decides before it asks: no rate is used up by a use that is refused anyway. */
async function takeRates(context: Context, { owner, rates, ...key }: KeyPrincipal, use: Use) {
  const refusal = refusalOf({ owner, rates, ...key }, use)
  if (refusal !== null || rates === null) return refusal
  return permitRates(context, await context.rates.take({ owner, rates }))
}

function questionOf(region: Region, key: KeyPrincipal, { at, scopes, cost, address }: Use): RegionQuestion {
  const { claims, resource } = key
  return {
    credential: claims
      ? {
          token: {
            jti: claims.tokenId,
            sub: claims.subject,
            sid: claims.sessionId,
            aud: claims.audience,
            kid: claims.keyId ?? '',
            scope: claims.scopes.join(' '),
            exp: Math.floor(claims.expiresAtMs / 1000),
          },
        }
      : { hash: region.hashOf(key) },
    entry_point: at,
    scopes: [...scopes],
    ...(cost !== null && { cost }),
    ...(address !== null && { ip: address }),
    ...(resource && { resource: resource.identifier }),
    counts_rate: region.countsRates === 'home',
  }
}

/** Home's answer as the outcome of a use here. */
function readAnswer(key: KeyPrincipal, answer: RegionAnswer): UseOutcome {
  const {
    code,
    limited_by: limitedBy = 'key',
    limit = 0,
    retry_after_seconds: retryAfterSeconds = null,
  } = answer
  switch (code) {
    case 'VALID':
      return {
        code,
        rates: answer.rates ? answer.rates.map(readRate) : null,
        remainingCredits: answer.credits ?? null,
        remainingOwnerCredits: answer.owner_credits ?? null,
        key: describeKey(key, answer),
      }
    case 'INSUFFICIENT_SCOPE':
      return { code, missingScopes: answer.missing_scopes ?? [] }
    case 'RATE_LIMITED':
      return { code, limitedBy, limit, retryAfterSeconds: retryAfterSeconds ?? 1 }
    case 'CREDITS_EXHAUSTED':
      return { code, limitedBy, refill: limit, retryAfterSeconds }
    default:
      return { code }
  }
}

const readRate = ({
  of,
  limit,
  remaining,
  reset_at,
}: NonNullable<RegionAnswer['rates']>[number]): RateState => ({
  of,
  isExceeded: false,
  limit,
  remaining,
  resetAtMs: Date.parse(reset_at),
})

/** The key as home knows it now. */
function describeKey(key: KeyPrincipal, { key: known }: RegionAnswer): KeyPrincipal {
  if (!known) return key
  const { name, external_id: externalId, metadata, scopes, ends_at, owner } = known
  return {
    ...key,
    name,
    externalId,
    metadata,
    scopes,
    endsAt: ends_at === null ? null : parseInstant(ends_at),
    owner: ownerOfAnswer(key.owner, owner),
  }
}

function ownerOfAnswer(
  here: KeyPrincipal['owner'],
  known: NonNullable<RegionAnswer['key']>['owner'],
): KeyPrincipal['owner'] {
  if (known.type === 'service_account') return known
  const { type, id, email, email_verified: emailVerified, role } = known
  const createdAt = here.type === 'user' ? here.createdAt : new Date(0)
  return { type, id, email, emailVerified, role, createdAt }
}
