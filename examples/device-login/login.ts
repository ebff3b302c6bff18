/** A command-line tool that signs its user in by a code on a phone, and calls an API. See README.md. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

const { LATCHKEY_URL = 'http://localhost:8000', CLIENT_ID = '', RESOURCE = '' } = process.env
const { API_URL = RESOURCE, TOKEN_FILE = '.device-login', SCOPE = '' } = process.env

const TIME_LIMIT_MS = 5_000
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

type Device = {
  device_code: string
  user_code: string
  verification_uri: string
  verification_uri_complete: string
  interval: number
}
type Tokens = { access_token: string; refresh_token?: string }

/** Posts a form to an OAuth endpoint. */
async function post(path: string, form: Record<string, string>): Promise<{ error?: string } & object> {
  const response = await fetch(`${LATCHKEY_URL}${path}`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: CLIENT_ID, ...form }),
    signal: AbortSignal.timeout(TIME_LIMIT_MS),
  })
  return (await response.json()) as { error?: string }
}

/** Shows a code, and waits until the user has answered on another device (RFC 8628). */
async function signIn(): Promise<Tokens> {
  const begun = await post('/oauth/device_authorization', {
    resource: RESOURCE,
    ...(SCOPE !== '' && { scope: SCOPE }),
  })
  if (begun.error) throw new Error(`Cannot sign in: ${begun.error}`)
  const device = begun as Device
  console.log(`Open ${device.verification_uri} on your phone, and type ${device.user_code}`)
  console.log(`Or open ${device.verification_uri_complete}`)
  let intervalSeconds = device.interval
  for (;;) {
    await pause(intervalSeconds * 1000)
    const answer = await post('/oauth/token', { grant_type: DEVICE_GRANT, device_code: device.device_code })
    if (!answer.error) return answer as Tokens
    if (answer.error === 'slow_down') intervalSeconds += 5
    else if (answer.error !== 'authorization_pending') throw new Error(`Not signed in: ${answer.error}`)
  }
}

/** New tokens by the refresh token of the last run; null where the tool has no live one. */
async function refresh(): Promise<Tokens | null> {
  if (!existsSync(TOKEN_FILE)) return null
  const answer = await post('/oauth/token', {
    grant_type: 'refresh_token',
    refresh_token: readFileSync(TOKEN_FILE, 'utf8'),
  })
  if (!answer.error) return answer as Tokens
  // Any other error may pass, and then the token is still good.
  if (answer.error !== 'invalid_grant') throw new Error(`Cannot refresh: ${answer.error}`)
  rmSync(TOKEN_FILE)
  return null
}

const tokens = (await refresh()) ?? (await signIn())
// Only this user may read the file. Each refresh token works once, so that the newest is kept.
if (tokens.refresh_token) writeFileSync(TOKEN_FILE, tokens.refresh_token, { mode: 0o600 })

const answer = await fetch(API_URL, {
  headers: { authorization: `Bearer ${tokens.access_token}` },
  signal: AbortSignal.timeout(TIME_LIMIT_MS),
})
console.log(`${answer.status} ${await answer.text()}`)
