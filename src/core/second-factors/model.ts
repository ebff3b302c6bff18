import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, Name, nullable } from '../../lib/model.ts'

const base64url = (maxLength: number) => Type.String({ minLength: 1, maxLength, pattern: '^[A-Za-z0-9_-]+$' })
const ofAuthenticator = { additionalProperties: true }

/** `RegistrationResponseJSON` (WebAuthn, section 5.1), as far as it is read. */
export const RegistrationResponse = Type.Object(
  {
    id: base64url(1364),
    rawId: base64url(1364),
    type: Type.Literal('public-key'),
    response: Type.Object(
      {
        clientDataJSON: base64url(8192),
        attestationObject: base64url(32_768),
        transports: Type.Optional(
          nullable(Type.Array(Type.String({ pattern: '^[a-z-]{1,32}$' }), { maxItems: 16 })),
        ),
      },
      ofAuthenticator,
    ),
  },
  { $id: 'RegistrationResponse', ...ofAuthenticator },
)
export type RegistrationResponse = Static<typeof RegistrationResponse>

/** `AuthenticationResponseJSON` (WebAuthn, section 5.1), as far as it is read. */
export const AuthenticationResponse = Type.Object(
  {
    id: base64url(1364),
    rawId: base64url(1364),
    type: Type.Literal('public-key'),
    response: Type.Object(
      {
        clientDataJSON: base64url(8192),
        authenticatorData: base64url(8192),
        signature: base64url(4096),
        userHandle: Type.Optional(nullable(Type.String({ maxLength: 128, pattern: '^[A-Za-z0-9_-]*$' }))),
      },
      ofAuthenticator,
    ),
  },
  { $id: 'AuthenticationResponse', ...ofAuthenticator },
)
export type AuthenticationResponse = Static<typeof AuthenticationResponse>

const code = Type.String({ minLength: 1, maxLength: 64, examples: ['492039'] })

/** The second step of a log-in: exactly one of `code`, `recovery_code` and `response`. */
export const SecondStep = Type.Object(
  {
    mfa_token: Type.String({ minLength: 1, maxLength: 256 }),
    code: Type.Optional(code),
    recovery_code: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, examples: ['7Q2M-9XKD-0B4T-W8ZH'] }),
    ),
    response: Type.Optional(AuthenticationResponse),
  },
  { $id: 'SecondStep', additionalProperties: false },
)
export type SecondStep = Static<typeof SecondStep>

/** Exactly one of them: `code` or `response` of a person with a second factor, `password` of one without. */
export const Reauthentication = Type.Object(
  {
    password: Type.Optional(Type.String({ maxLength: 8192 })),
    code: Type.Optional(code),
    response: Type.Optional(AuthenticationResponse),
  },
  { $id: 'Reauthentication', additionalProperties: false },
)
export type Reauthentication = Static<typeof Reauthentication>

export const Reauthenticated = Type.Object({ auth_time: Instant }, { $id: 'Reauthenticated' })
export type Reauthenticated = Static<typeof Reauthenticated>

export const PasskeyLogin = Type.Object(
  { response: AuthenticationResponse },
  { $id: 'PasskeyLogin', additionalProperties: false },
)

export const PasskeyLoginOptions = Type.Object(
  { mfa_token: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })) },
  { $id: 'PasskeyLoginOptions', additionalProperties: false },
)

export const NewPasskey = Type.Object(
  { name: Name, response: RegistrationResponse },
  { $id: 'NewPasskey', additionalProperties: false },
)
export type NewPasskey = Static<typeof NewPasskey>

export const PasskeyPatch = Type.Object({ name: Name }, { $id: 'PasskeyPatch', additionalProperties: false })

export const Passkey = Type.Object(
  {
    id: Id,
    name: Type.String(),
    created_at: Instant,
    last_used_at: nullable(Instant),
    backed_up: Type.Boolean({ description: 'Whether it is synchronised between devices' }),
    suspended: Type.Boolean({ description: 'Whether its sign count went back, which a copy of it does' }),
  },
  { $id: 'Passkey' },
)
export type Passkey = Static<typeof Passkey>

const recoveryCodes = Type.Array(Type.String(), { description: 'Ten, shown this once' })

export const CreatedPasskey = Type.Object(
  { id: Id, name: Type.String(), created_at: Instant, recovery_codes: Type.Optional(recoveryCodes) },
  { $id: 'CreatedPasskey' },
)
export type CreatedPasskey = Static<typeof CreatedPasskey>

export const SecondFactors = Type.Object(
  {
    required: Type.Boolean({ description: 'Whether REQUIRE_MFA asks this user for a second factor' }),
    totp: nullable(Type.Object({ created_at: Instant })),
    passkeys: Type.Array(Passkey),
    recovery_codes_left: Type.Integer(),
  },
  { $id: 'SecondFactors' },
)
export type SecondFactors = Static<typeof SecondFactors>

export const PendingTotp = Type.Object(
  {
    secret: Type.String({ description: 'Base32, for an authenticator app that scans nothing' }),
    otpauth_uri: Type.String({ examples: ['otpauth://totp/Latchkey:user%40example.com?secret=…'] }),
    qr_svg: Type.String({ description: 'The same as a QR code' }),
  },
  { $id: 'PendingTotp' },
)
export type PendingTotp = Static<typeof PendingTotp>

export const TotpConfirmation = Type.Object(
  { code },
  { $id: 'TotpConfirmation', additionalProperties: false },
)

/** With `recovery_codes` where this was the first factor. */
export const ConfirmedTotp = Type.Object(
  { recovery_codes: Type.Optional(recoveryCodes) },
  { $id: 'ConfirmedTotp' },
)
export type ConfirmedTotp = Static<typeof ConfirmedTotp>

export const RecoveryCodes = Type.Object({ recovery_codes: recoveryCodes }, { $id: 'RecoveryCodes' })
export type RecoveryCodes = Static<typeof RecoveryCodes>

const descriptors = Type.Array(
  Type.Object({
    id: Type.String(),
    type: Type.String(),
    transports: Type.Optional(Type.Array(Type.String())),
  }),
)

/** `PublicKeyCredentialCreationOptionsJSON` (WebAuthn, section 5.4). */
export const PasskeyCreationOptions = Type.Object(
  {
    challenge: Type.String(),
    rp: Type.Object({ id: Type.String(), name: Type.String() }),
    user: Type.Object({ id: Type.String(), name: Type.String(), displayName: Type.String() }),
    pubKeyCredParams: Type.Array(Type.Object({ type: Type.String(), alg: Type.Integer() })),
    timeout: Type.Integer(),
    attestation: Type.String(),
    authenticatorSelection: Type.Object({
      residentKey: Type.String(),
      requireResidentKey: Type.Boolean(),
      userVerification: Type.String(),
    }),
    excludeCredentials: descriptors,
  },
  { $id: 'PasskeyCreationOptions' },
)
export type PasskeyCreationOptions = Static<typeof PasskeyCreationOptions>

/** `PublicKeyCredentialRequestOptionsJSON` (WebAuthn, section 5.5). */
export const PasskeyRequestOptions = Type.Object(
  {
    challenge: Type.String(),
    rpId: Type.String(),
    timeout: Type.Integer(),
    userVerification: Type.String(),
    allowCredentials: Type.Optional(descriptors),
  },
  { $id: 'PasskeyRequestOptions' },
)
export type PasskeyRequestOptions = Static<typeof PasskeyRequestOptions>
