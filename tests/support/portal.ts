import { type Call, call } from './client.ts'
import type { TestService } from './service.ts'

/** A portal session whose link was exchanged. */
export type Portal = {
  id: string
  /** The token of its link, which is used up. */
  token: string
  bearer: string
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
  access: any
}

/** Makes a portal session. @returns its id, and the token of its link */
export async function makePortal(
  service: Pick<TestService, 'url'>,
  maker: Call,
  json: Record<string, unknown>,
): Promise<{ id: string; token: string; url: string }> {
  const made = await call(service, 'POST /portal/sessions', { ...maker, json })
  if (made.status !== 201) throw new Error(`The portal session answered ${made.status}: ${made.text}`)
  const { id, url } = made.body
  return { id, url, token: url.slice(url.indexOf('#') + 1) }
}

/** Makes a portal session, and exchanges its link. */
export async function openPortal(
  service: Pick<TestService, 'url'>,
  maker: Call,
  json: Record<string, unknown>,
): Promise<Portal> {
  const { id, token } = await makePortal(service, maker, json)
  const exchanged = await call(service, 'POST /portal/exchange', { json: { token } })
  if (exchanged.status !== 200)
    throw new Error(`The exchange answered ${exchanged.status}: ${exchanged.text}`)
  return { id, token, bearer: exchanged.body.access_token, access: exchanged.body }
}
