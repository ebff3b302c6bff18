import { queries, useAsk } from './api.ts'
import type { Me } from './types.ts'

const KEY = ['me']

/** Who is signed in; undefined until the API has said so. */
export function useMe(): Me | undefined {
  const { data } = useAsk(KEY, (api) => api.auth.me.get())
  return data?.type === 'user' ? data : undefined
}

/** Who was signed in when the page was last drawn. */
export const presentMe = (): Me | undefined => queries.getQueryData<Me>(KEY)

export const isAdmin = (me: Me | undefined): boolean => me?.role === 'admin'
/** Whether the admin's pages are for this person: admins, and support. */
export const isStaff = (me: Me | undefined): boolean =>
  isAdmin(me) || me?.scopes.includes('latchkey:support') === true
/** Whether this person may set the external id and the metadata of keys. */
export const mayLabel = (me: Me | undefined): boolean =>
  isAdmin(me) || me?.scopes.includes('latchkey:keys.label') === true

/** Whether this person may set the external id of an account that they manage. */
export const mayName = (me: Me | undefined): boolean =>
  mayLabel(me) || me?.scopes.includes('latchkey:service-accounts.write') === true
