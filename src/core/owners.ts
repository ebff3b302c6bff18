import type { Principal } from './principal.ts'

/** The owner of a key: a user or a service account. */
export type Owner = { type: 'user' | 'service_account'; id: string }

/** The columns of a row that name its owner. Exactly one of them is set (the constraint `api_keys_owner_check`). */
export type OwnerColumns = { userId: string | null; serviceAccountId: string | null }

const COLUMNS = { user: 'userId', service_account: 'serviceAccountId' } as const satisfies Record<
  Owner['type'],
  keyof OwnerColumns
>

/** The column that names an owner, for a WHERE condition. */
export const ownerColumn = ({ type }: Owner) => COLUMNS[type]

/** The values of both owner columns, for an INSERT. */
export const ownerColumns = (owner: Owner): OwnerColumns => ({
  userId: null,
  serviceAccountId: null,
  [ownerColumn(owner)]: owner.id,
})

/** The owner that a row names. */
export function ownerOfRow({ userId, serviceAccountId }: OwnerColumns): Owner {
  if (userId !== null) return { type: 'user', id: userId }
  if (serviceAccountId !== null) return { type: 'service_account', id: serviceAccountId }
  throw new Error('A row without an owner')
}

/** The owner whose keys a caller works with: a user's own account, or the owner of the key or portal session that calls. */
export function ownerOf(caller: Principal): Owner {
  if (caller.kind === 'user') return { type: 'user', id: caller.userId }
  return { type: caller.owner.type, id: caller.owner.id }
}

export const isSameOwner = (one: Owner, other: Owner): boolean =>
  one.type === other.type && one.id === other.id

/** The external id of a key: its own, else that of its service account. `hasExternalId` in db/external-ids.ts is the same in SQL. */
export const effectiveExternalId = (
  key: { externalId: string | null },
  account: { externalId: string | null } | null,
): string | null => key.externalId ?? account?.externalId ?? null
