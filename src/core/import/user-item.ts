import { type Static, Type } from '@sinclair/typebox'
import { ScopeInput } from '../../lib/model.ts'
import { parseScopes } from '../../lib/scopes.ts'
import { parseInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { normaliseEmail } from '../users/email.ts'
import { faultOfPasswordHash } from './credentials.ts'
import type { ImportedUser } from './place-users.ts'
import { type Fault, ForeignId, faultOfShape, importedId, withoutNulls } from './shape.ts'

/** A user to import, as a file gives it. A member that is null counts as absent. */
const UserItem = Type.Object(
  {
    email: Type.String({ maxLength: 1024 }),
    password_hash: Type.Optional(Type.String({ maxLength: 1024 })),
    id: Type.Optional(ForeignId),
    role: Type.Optional(
      Type.Union([Type.Literal('admin'), Type.Literal('user')], { error: 'Must be admin or user' }),
    ),
    is_active: Type.Optional(Type.Boolean()),
    email_verified: Type.Optional(Type.Boolean()),
    scopes: Type.Optional(ScopeInput),
    created_at: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)

/**
 * Reads one user to import. A user without a password hash cannot log in until a password is set.
 * @returns a fault where the item is invalid. The fault repeats no value.
 */
export function readUserItem(context: Context, item: unknown): ImportedUser | Fault {
  const present = withoutNulls(item)
  const fault = faultOfShape(UserItem, present)
  if (fault !== null) return { fault }
  const written = present as Static<typeof UserItem>
  const email = normaliseEmail(written.email)
  if (email === null) return { fault: NO_EMAIL }
  const passwordHash = written.password_hash ?? null
  const hashFault = passwordHash === null ? null : faultOfPasswordHash(passwordHash)
  if (hashFault !== null) return { fault: hashFault }
  const scopes = written.scopes === undefined ? null : parseScopes(written.scopes)
  if (scopes !== null && 'fault' in scopes) return { fault: `scopes: ${scopes.fault}` }
  const createdAt = written.created_at === undefined ? null : parseInstant(written.created_at)
  if (written.created_at !== undefined && (createdAt === null || createdAt.getTime() < 0)) {
    return { fault: 'created_at: Must be a time in RFC 3339, from 1970 to 9999' }
  }
  const own = written.id === undefined ? null : String(written.id)
  return {
    id: importedId(own, createdAt, 'user', own ?? '', email),
    email,
    passwordHash,
    scopes,
    role: written.role ?? 'user',
    isActive: written.is_active ?? true,
    emailVerified: written.email_verified ?? false,
    createdAt: createdAt ?? new Date(context.clock()),
  }
}

/** Why an address is refused. The report names the address itself. */
export const NO_EMAIL = 'Must be an e-mail address of at most 254 characters'

/** The addresses of one import, each with its user. */
export type AddressBook = {
  /** Adds a user. Gives a fault where another user has the address, which says how the two spellings differ. */
  enter<U extends { id: string; email: string }>(user: U, written: string): U | Fault
}

/**
 * Creates an empty address book. Two addresses that differ only in case are one address here, and their two users are
 * never merged.
 */
export function createAddressBook(): AddressBook {
  const holders = new Map<string, { id: string; written: string }>()
  return {
    enter(user, written) {
      const holder = holders.get(user.email)
      if (!holder) {
        holders.set(user.email, { id: user.id, written })
        return user
      }
      if (holder.id === user.id && holder.written === written) return user
      if (holder.written.trim() === written.trim()) {
        return { fault: 'Another user of this import has the same address' }
      }
      return {
        fault: `The address differs only in case from that of another user of this import, ${holder.written}: which of the two is meant has to be decided first`,
      }
    },
  }
}
