import { Link } from 'wouter'
import { useAsk } from '../lib/api.ts'
import { isStaff, useMe } from '../lib/me.ts'
import type { Key, ListedKey } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** Whose key it is, as a link to the owner. */
export function Owner({
  of: { user_id, service_account_id },
}: {
  of: Pick<Key, 'user_id' | 'service_account_id'>
}) {
  const me = useMe()
  const account = useAsk(
    ['service-accounts', service_account_id],
    (api) => api['service-accounts']({ id: service_account_id ?? '' }).get(),
    service_account_id !== null,
  ).data
  const isOther = user_id !== null && user_id !== me?.id && isStaff(me)
  const user = useAsk(['users', user_id], (api) => api.users({ id: user_id ?? '' }).get(), isOther).data
  if (service_account_id !== null) {
    return (
      <Link href={`/service-accounts/${service_account_id}`} className="owner">
        <bdi>{account?.name ?? texts.keys.serviceAccount}</bdi>
      </Link>
    )
  }
  if (user_id === me?.id) return texts.keys.you
  return isOther ? (
    <Link href={`/users/${user_id}`} className="owner">
      <Name of={user?.email ?? user_id ?? ''} />
    </Link>
  ) : (
    <code>{user_id}</code>
  )
}

/** The owner that a list of keys names. */
export function OwnerLink({ of: { type, id, label } }: { of: NonNullable<ListedKey['owner']> }) {
  const me = useMe()
  if (id === me?.id) return texts.keys.you
  return (
    <Link href={`/${type === 'user' ? 'users' : 'service-accounts'}/${id}`} className="owner">
      <Name of={label ?? id} />
    </Link>
  )
}

/** A name in its own direction. An address that needs two lines breaks behind its `@`, and not within a word. */
function Name({ of: name }: { of: string }) {
  const at = name.lastIndexOf('@') + 1
  return (
    <bdi>
      {name.slice(0, at)}
      <wbr />
      {name.slice(at)}
    </bdi>
  )
}
