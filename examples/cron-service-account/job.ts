/** A job that calls an API every minute, as a service account. See README.md. */
import { setTimeout as pause } from 'node:timers/promises'

const { LATCHKEY_URL = 'http://localhost:8000', API_URL = 'http://127.0.0.1:3000' } = process.env
const { CLIENT_ID = '', CLIENT_SECRET = '', EVERY_SECONDS = '60' } = process.env

const TIME_LIMIT_MS = 5_000
/** A token is replaced this long before it expires, so that it cannot expire on its way to the API. */
const MARGIN_SECONDS = 30

let token: { text: string; goodUntilMs: number } | null = null

/** Gives the current token, or gets a new one by the account's key (RFC 6749, section 4.4). */
async function accessToken(): Promise<string> {
  if (token && Date.now() < token.goodUntilMs) return token.text
  const response = await fetch(`${LATCHKEY_URL}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${CLIENT_ID}:${CLIENT_SECRET}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read' }),
    signal: AbortSignal.timeout(TIME_LIMIT_MS),
  })
  if (!response.ok) throw new Error(`No token: ${response.status}`)
  const { access_token, expires_in } = (await response.json()) as { access_token: string; expires_in: number }
  token = { text: access_token, goodUntilMs: Date.now() + (expires_in - MARGIN_SECONDS) * 1000 }
  return access_token
}

async function countNotes(): Promise<void> {
  const response = await fetch(`${API_URL}/notes`, {
    headers: { authorization: `Bearer ${await accessToken()}` },
    signal: AbortSignal.timeout(TIME_LIMIT_MS),
  })
  // The key may have been rotated or revoked. The next call gets a new token.
  if (response.status === 401) token = null
  if (!response.ok) throw new Error(`No notes: ${response.status}`)
  console.log(`Notes: ${((await response.json()) as unknown[]).length}`)
}

for (;;) {
  await countNotes().catch((error: Error) => console.error(error.message))
  await pause(Number(EVERY_SECONDS) * 1000)
}
