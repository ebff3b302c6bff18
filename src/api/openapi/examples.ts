const EMAIL = 'user@example.com'
const PASSWORD = 'correct horse battery staple'
/** Of the form of a key, and none. */
const KEY = `sk_${'0'.repeat(49)}`
const REFRESH_TOKEN = 'rt_from-the-answer-to-a-login'
const MFA_TOKEN = 'mfa_from-the-answer-to-a-login'
/** Of the form of what a browser sends, and none. */
const CREDENTIAL = { id: 'AA', rawId: 'AA', type: 'public-key' }

/**
 * A body for each that is sent, by the name of its shape: what Swagger UI fills in, and what somebody copies. Each is taken as
 * it stands. Without it Swagger UI makes one of every member, those that exclude each other too.
 */
export const EXAMPLES: Record<string, object> = {
  Credentials: { email: EMAIL, password: PASSWORD },
  PasswordChange: { current_password: PASSWORD, new_password: 'a quite different passphrase' },
  PasswordReset: { token: 'from-an-admin', new_password: 'a quite different passphrase' },
  RefreshRequest: { refresh_token: REFRESH_TOKEN },
  SecondStep: { mfa_token: MFA_TOKEN, code: '492039' },
  Reauthentication: { code: '492039' },
  TotpConfirmation: { code: '492039' },
  PasskeyLogin: {
    response: {
      ...CREDENTIAL,
      response: { clientDataJSON: 'e30', authenticatorData: 'AA', signature: 'AA' },
    },
  },
  PasskeyLoginOptions: {},
  NewPasskey: {
    name: 'Laptop',
    response: { ...CREDENTIAL, response: { clientDataJSON: 'e30', attestationObject: 'oA' } },
  },
  PasskeyPatch: { name: 'Old laptop' },
  NewKey: { name: 'Nightly report', scopes: ['read'], expires_in_days: 90 },
  KeyPatch: { name: 'Weekly report' },
  KeyRotation: { overlap_seconds: 3600 },
  KeyImport: {
    keys: [
      {
        name: 'From before',
        owner: { email: EMAIL },
        // SHA-256 of "a key".
        hash: '8fa3aab2faa9b79e0a0398da5b5abd0780142442a5be80b9a64608d718cb1fcd',
        hash_encoding: 'hex',
        scopes: ['read'],
      },
    ],
  },
  VerifyRequest: { key: KEY, scopes: ['read'] },
  VerifyBatchRequest: { keys: [{ key: KEY, scopes: ['read'] }] },
  NewServiceAccount: { name: 'Reports', scopes: ['read'] },
  ServiceAccountPatch: { description: 'Makes the nightly report' },
  NewUser: { email: 'colleague@example.com' },
  UserPatch: { scopes: ['read'] },
  TokenForm: { grant_type: 'password', username: EMAIL, password: PASSWORD },
  TokenOfForm: { token: REFRESH_TOKEN },
}
