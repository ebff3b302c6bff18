const EMAIL = 'user@example.com'
const PASSWORD = 'correct horse battery staple'
/** Has the form of a key, its checksum too. */
const KEY = `sk_${'0'.repeat(43)}4LPos6`
const REFRESH_TOKEN = 'rt_from-the-answer-to-a-login'
const MFA_TOKEN = 'mfa_from-the-answer-to-a-login'
/** Of the form of what a browser sends, and none. */
const CREDENTIAL = { id: 'AA', rawId: 'AA', type: 'public-key' }

/**
 * An example body for each shape that a client sends, by the name of the shape. Swagger UI fills it in, and readers copy it,
 * so the service accepts each one as it stands. Without an example Swagger UI sends every member, also those that exclude
 * each other.
 */
export const EXAMPLES: Record<string, object> = {
  Credentials: { email: EMAIL, password: PASSWORD },
  BrowserCredentials: { email: EMAIL, password: PASSWORD, remember: true },
  PasswordChange: { current_password: PASSWORD, new_password: 'a quite different passphrase' },
  PasswordReset: { token: 'from-an-admin', new_password: 'a quite different passphrase' },
  Registration: {
    client_name: 'Example App',
    redirect_uris: ['https://app.example.com/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
  },
  Address: { email: EMAIL },
  EmailChange: { email: 'new@example.com', current_password: PASSWORD },
  EmailVerification: { token: 'from-the-mailed-link', password: PASSWORD },
  AccountDeletion: { current_password: PASSWORD },
  ResetRequest: { send: false },
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
  BrowserPasskeyLogin: {
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
  VerifyAnyRequest: { credential: KEY, scopes: ['read'], ip: '203.0.113.7' },
  RegionQuestion: {
    credential: { hash: '0'.repeat(64) },
    entry_point: 'keys_verify',
    scopes: ['read'],
    cost: 1,
    ip: '203.0.113.7',
    counts_rate: true,
  },
  UsageReport: {
    id: '01890a5d-ac96-774b-bcce-b302099a8057',
    region: 'eu-west',
    counts: [
      {
        key_id: '01890a5d-ac96-774b-bcce-b302099a8057',
        hour: '2026-01-01T00:00:00.000Z',
        outcome: 'VALID',
        count: 1,
      },
    ],
    last_uses: [],
    refusals: [],
  },
  NewKey: { name: 'Nightly report', scopes: ['read'], expires_in_days: 90 },
  KeyPatch: { name: 'Weekly report' },
  TopUp: { set: 1000 },
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
  KeyCheck: { scopes: ['read'], ip: '192.0.2.10' },
  KeysRevocation: { ids: ['019a5f6e-7b7c-7cc2-9d2e-3f0a4b5c6d7e'], reason: 'leaked' },
  KeyLookup: { start: KEY.slice(0, 11) },
  VerifyRequest: { key: KEY, scopes: ['read'] },
  VerifyBatchRequest: { keys: [{ key: KEY, scopes: ['read'] }] },
  NewPortalSession: {
    service_account_id: '019a5f6e-7b7c-7cc2-9d2e-3f0a4b5c6d7e',
    scopes: ['read'],
    may: ['create', 'rotate', 'revoke'],
  },
  PortalToken: { token: 'pl_from-the-link' },
  NewServiceAccount: { name: 'Reports', scopes: ['read'] },
  ServiceAccountPut: { external_id: 'cust-42', name: 'Acme' },
  NewManager: { email: 'grace@example.com' },
  ServiceAccountPatch: { description: 'Makes the nightly report' },
  NewResource: {
    identifier: 'https://notes.example.com/mcp',
    name: 'Notes',
    slug: 'notes',
    scopes: [
      { name: 'notes:read', description: 'Read your notes' },
      { name: 'notes:export', description: 'Export the notes of your team', grantable_by: 'ceiling' },
    ],
  },
  ResourcePatch: { name: 'Notes and tasks' },
  NewOAuthClient: {
    name: 'Notes for the desktop',
    kind: 'public',
    redirect_uris: ['http://127.0.0.1/callback'],
    grants: ['authorization_code', 'refresh_token'],
    scopes: ['notes:read'],
  },
  OAuthClientPatch: { name: 'Notes' },
  NewClientSecret: { overlap_seconds: 3600 },
  NewUser: { email: 'colleague@example.com' },
  UserPatch: { scopes: ['read'] },
  TestMail: { to: EMAIL },
  TokenForm: { grant_type: 'password', username: EMAIL, password: PASSWORD },
  DeviceForm: { client_id: '019a5f6e-7b7c-7cc2-9d2e-3f0a4b5c6d7e', scope: 'openid' },
  TokenOfForm: { token: REFRESH_TOKEN },
}
