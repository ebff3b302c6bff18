import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import type { Config } from '../../config/config.ts'
import { fail } from '../../lib/errors.ts'
import type { AuthenticationResponse, RegistrationResponse } from './model.ts'
import type { PasskeyRow } from './queries.ts'

/** COSE algorithms, best known first: ES256, EdDSA, RS256. */
export const ALGORITHMS = [-7, -8, -257]

/** For whom passkeys are made, and at which origin they are used. */
export type RelyingParty = { id: string; origin: string }

const IP_ADDRESS = /^(\[.*\]|\d+\.\d+\.\d+\.\d+)$/

/**
 * The relying party of this service. null where browsers have no passkeys: at an IP address, and at plain http other
 * than `localhost`.
 */
export function relyingPartyOf({ publicUrl }: Pick<Config, 'publicUrl'>): RelyingParty | null {
  const { hostname, protocol, origin } = new URL(publicUrl)
  if (IP_ADDRESS.test(hostname)) return null
  return protocol === 'https:' || hostname === 'localhost' ? { id: hostname, origin } : null
}

/** @throws Problem conflict where browsers have no passkeys at PUBLIC_URL */
export function requireRelyingParty(config: Pick<Config, 'publicUrl'>): RelyingParty {
  const detail =
    'Browsers have passkeys at https and at http://localhost alone, and at no IP address: see PUBLIC_URL.'
  return relyingPartyOf(config) ?? fail('conflict', { detail })
}

/** What a passkey says of itself when it is made. */
export type NewCredential = {
  credentialId: Uint8Array
  publicKey: Uint8Array
  signCount: number
  isBackedUp: boolean
}

/** What a passkey says when it is used. */
export type Assertion = { passkey: PasskeyRow; signCount: number; isBackedUp: boolean }

let libraries: ReturnType<typeof importLibraries> | null = null

/** Loads the libraries at the first use of a passkey, because loading takes a quarter of a second and 25 MB. */
function loadLibraries() {
  libraries ??= importLibraries()
  return libraries
}

/**
 * Part of the library needs `reflect-metadata` while it loads. The compiled binary does not keep the order of static
 * imports, so this one is awaited first.
 */
async function importLibraries() {
  await import('reflect-metadata')
  return Promise.all([import('@simplewebauthn/server'), import('@simplewebauthn/server/helpers')])
}

/** The new credential of a response; null where any part of it fails (WebAuthn, section 7.1). */
export async function verifyRegistration(
  party: RelyingParty,
  challenge: Uint8Array,
  response: RegistrationResponse,
): Promise<NewCredential | null> {
  const [{ verifyRegistrationResponse }, { decodeAttestationObject, isoBase64URL }] = await loadLibraries()
  try {
    const attestation = decodeAttestationObject(isoBase64URL.toBuffer(response.response.attestationObject))
    // A certificate may name an address from which the library would fetch a list of revocations. We ask for no attestation,
    // and a browser then leaves nothing but an authenticator's signature of itself.
    const format = attestation.get('fmt')
    const isOwn = format === 'packed' && attestation.get('attStmt').get('x5c') === undefined
    if (format !== 'none' && !isOwn) return null
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: response as RegistrationResponseJSON,
      expectedChallenge: toBase64url(challenge),
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: ALGORITHMS,
    })
    if (!verified) return null
    const { credential, credentialBackedUp } = registrationInfo
    return {
      credentialId: fromBase64url(credential.id),
      publicKey: credential.publicKey,
      signCount: credential.counter,
      isBackedUp: credentialBackedUp,
    }
  } catch {
    return null
  }
}

/**
 * What a passkey signed; null where any part of it fails (WebAuthn, section 7.2). The sign count is the caller's to compare,
 * once the signature is known to be genuine: else anybody could have a passkey suspended.
 */
export async function verifyAssertion(
  party: RelyingParty,
  challenge: Uint8Array,
  response: AuthenticationResponse,
  passkey: PasskeyRow,
): Promise<Assertion | null> {
  const [{ verifyAuthenticationResponse }] = await loadLibraries()
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: response as AuthenticationResponseJSON,
      expectedChallenge: toBase64url(challenge),
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      credential: {
        id: toBase64url(passkey.credentialId),
        publicKey: Uint8Array.from(passkey.publicKey),
        counter: 0,
      },
    })
    if (!verified) return null
    const { newCounter, credentialBackedUp } = authenticationInfo
    return { passkey, signCount: newCounter, isBackedUp: credentialBackedUp }
  } catch {
    return null
  }
}

/** The challenge that a response answers; null where its client data cannot be read. */
export function challengeOf({ response }: { response: { clientDataJSON: string } }): Uint8Array | null {
  try {
    const { challenge } = JSON.parse(Buffer.from(response.clientDataJSON, 'base64url').toString())
    return typeof challenge === 'string' ? fromBase64url(challenge) : null
  } catch {
    return null
  }
}

export const toBase64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
export const fromBase64url = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64url'))
