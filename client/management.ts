import { type Treaty, treaty } from '@elysiajs/eden'
import type { App } from './app.ts'

export type { App } from './app.ts'

/**
 * A client for Latchkey's own API, typed by its routes (Eden Treaty).
 * @param url the base URL of Latchkey
 * @param credential a key with the scopes that the calls need, or an access token
 * @example const { data, error } = await management(url, key).keys.list.get()
 */
export function management(url: string, credential: string): Treaty.Create<App> {
  // Times stay text, as the API describes them. Eden would turn a time into a Date, while its type would still say
  // string.
  return treaty<App>(url, { parseDate: false, headers: { authorization: `Bearer ${credential}` } })
}
