import { type Treaty, treaty } from '@elysiajs/eden'
import type { App } from './app.ts'

export type { App } from './app.ts'

/**
 * Latchkey's own API, typed by its routes (Eden Treaty).
 * @param url where Latchkey is reached
 * @param credential a key with the scopes that the calls need, or an access token
 * @example const { data, error } = await management(url, key).keys.list.get()
 */
export function management(url: string, credential: string): Treaty.Create<App> {
  // A time is a string here, as the API says; Eden would make a Date of it, and the type would still say string.
  return treaty<App>(url, { parseDate: false, headers: { authorization: `Bearer ${credential}` } })
}
