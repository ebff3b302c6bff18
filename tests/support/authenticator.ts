import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** What CBOR (RFC 8949) is written of here. */
type Cbor = number | string | Uint8Array | Map<number | string, Cbor>

/** Canonical CBOR of integers, texts, bytes and maps, whose members stay in their order. */
function encodeCbor(value: Cbor): Buffer {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value)
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value])
  const members = [...value].flatMap(([key, member]) => [encodeCbor(key), encodeCbor(member)])
  return Buffer.concat([head(5, value.size), ...members])
}

function head(major: number, argument: number): Buffer {
  if (argument < 24) return Buffer.from([(major << 5) | argument])
  if (argument < 0x100) return Buffer.from([(major << 5) | 24, argument])
  return Buffer.from([(major << 5) | 25, argument >> 8, argument & 0xff])
}

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest()
const base64url = (data: Uint8Array) => Buffer.from(data).toString('base64url')

/** What an authenticator does otherwise than it should. */
export type Misbehaviour = {
  origin?: string
  rpId?: string
  type?: string
  challenge?: string
  userHandle?: string | null
  /** User present 1, verified 4, backup eligible 8, backed up 16. */
  flags?: number
  signCount?: number
  /** Signs with a key of its own. */
  forged?: boolean
  /** The format of the attestation, and its statement. */
  fmt?: string
  attStmt?: Map<string, Cbor>
  alg?: number
}

export type CreationOptions = {
  challenge: string
  rp: { id: string }
  user: { id: string }
}
export type RequestOptions = { challenge: string; rpId: string }

const PRESENT_AND_VERIFIED = 0x05
const BACKED_UP = 0x18
const HAS_CREDENTIAL = 0x40

/**
 * A passkey in software (WebAuthn, section 6), which keeps to the specification unless it is told otherwise.
 * @param origin of the page that asks
 * @param algorithm ES256 or EdDSA
 * @param counts whether it counts its uses
 */
export function createAuthenticator(
  origin: string,
  {
    algorithm = 'ES256',
    counts = true,
    isBackedUp = false,
  }: {
    algorithm?: 'ES256' | 'EdDSA'
    counts?: boolean
    isBackedUp?: boolean
  } = {},
) {
  const generate = () =>
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('ed25519')
  const credentialId = randomBytes(32)
  const keys = generate()
  let userHandle = ''
  let count = 0

  const flagsOf = (flags = PRESENT_AND_VERIFIED | (isBackedUp ? BACKED_UP : 0)) => flags
  const clientData = (type: string, challenge: string, wrong: Misbehaviour) =>
    Buffer.from(
      JSON.stringify({
        type: wrong.type ?? type,
        challenge: wrong.challenge ?? challenge,
        origin: wrong.origin ?? origin,
        crossOrigin: false,
      }),
    )
  const authenticatorData = (
    rpId: string,
    flags: number,
    wrong: Misbehaviour,
    credential = Buffer.alloc(0),
  ) => {
    const counted = Buffer.alloc(4)
    counted.writeUInt32BE(wrong.signCount ?? (counts ? ++count : 0))
    return Buffer.concat([sha256(wrong.rpId ?? rpId), Buffer.from([flags]), counted, credential])
  }
  const signWith = (key: KeyObject, data: Uint8Array) =>
    sign(algorithm === 'ES256' ? 'sha256' : null, data, key)

  return {
    credentialId,
    /** Makes the credential: `RegistrationResponseJSON`. */
    create({ challenge, rp, user }: CreationOptions, wrong: Misbehaviour = {}) {
      userHandle = user.id
      const clientDataJSON = clientData('webauthn.create', challenge, wrong)
      const length = Buffer.alloc(2)
      length.writeUInt16BE(credentialId.length)
      const attested = Buffer.concat([
        Buffer.alloc(16),
        length,
        credentialId,
        coseKey(keys.publicKey, wrong.alg),
      ])
      const authData = authenticatorData(rp.id, flagsOf(wrong.flags) | HAS_CREDENTIAL, wrong, attested)
      const attestation = new Map<string, Cbor>([
        ['fmt', wrong.fmt ?? 'none'],
        ['attStmt', wrong.attStmt ?? new Map()],
        ['authData', authData],
      ])
      return {
        ...named(),
        response: {
          clientDataJSON: base64url(clientDataJSON),
          attestationObject: base64url(encodeCbor(attestation)),
          transports: ['internal'],
        },
      }
    },
    /** Uses it: `AuthenticationResponseJSON`. */
    get({ challenge, rpId }: RequestOptions, wrong: Misbehaviour = {}) {
      const clientDataJSON = clientData('webauthn.get', challenge, wrong)
      const authData = authenticatorData(rpId, flagsOf(wrong.flags), wrong)
      const key = wrong.forged ? generate().privateKey : keys.privateKey
      const signature = signWith(key, Buffer.concat([authData, sha256(clientDataJSON)]))
      return {
        ...named(),
        response: {
          clientDataJSON: base64url(clientDataJSON),
          authenticatorData: base64url(authData),
          signature: base64url(signature),
          userHandle: wrong.userHandle === undefined ? userHandle : wrong.userHandle,
        },
      }
    },
  }

  function named() {
    const id = base64url(credentialId)
    return {
      id,
      rawId: id,
      type: 'public-key',
      clientExtensionResults: {},
      authenticatorAttachment: 'platform',
    }
  }

  function coseKey(key: KeyObject, alg = algorithm === 'ES256' ? -7 : -8): Buffer {
    const { x = '', y = '' } = key.export({ format: 'jwk' })
    const bytes = (text: string) => Buffer.from(text, 'base64url')
    return encodeCbor(
      new Map<number, Cbor>(
        algorithm === 'ES256'
          ? [
              [1, 2],
              [3, alg],
              [-1, 1],
              [-2, bytes(x)],
              [-3, bytes(y)],
            ]
          : [
              [1, 1],
              [3, alg],
              [-1, 6],
              [-2, bytes(x)],
            ],
      ),
    )
  }
}
