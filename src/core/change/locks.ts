import type { KeyPrincipal, PortalPrincipal, Principal, SessionClient } from '../principal.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { LOCKABLE, type LockMode, type LockStep } from './queries.ts'

/** Rows to lock: what, by which id, and in which mode; or an advisory lock by its name. */
export type Lock =
  | readonly [what: LockStep['what'], id: string, mode: LockMode]
  | readonly [what: 'advisory', name: string]

const STRENGTH: Record<LockMode, number> = { share: 0, 'no key update': 1, update: 2 }

/**
 * The rows on which a caller's power depends. Whatever ends that power updates or deletes one of these rows, and so
 * waits for the lock.
 */
export function locksOfCaller(caller: Principal): Lock[] {
  switch (caller.kind) {
    case 'user':
      return [
        ['users', caller.userId, 'share'],
        ...locksOfClient(caller.client, null),
        ['sessions', caller.sessionId, 'share'],
        ...locksOfSignature(caller.claims),
      ]
    case 'client':
      return [
        ['users', caller.userId, 'share'],
        ...locksOfClient(caller.client, caller.resource.id),
        ['sessions', caller.sessionId, 'share'],
        ...locksOfSignature(caller.claims),
      ]
    case 'key':
      return [
        lockOfOwner(caller.owner),
        ...locksOfResource(caller.resource?.id ?? null),
        ['keys', caller.keyId, 'share'],
        ['secrets', caller.secretId, 'share'],
        ...locksOfSignature(caller.claims),
      ]
    case 'portal':
      return [
        lockOfOwner(caller.owner),
        ...locksOfMaker(caller.maker),
        ['portalSessions', caller.sessionId, 'share'],
      ]
  }
}

const lockOfOwner = ({ type, id }: Pick<KeyPrincipal['owner'], 'type' | 'id'>): Lock => [
  type === 'user' ? 'users' : 'serviceAccounts',
  id,
  'share',
]

/** A portal session ends with the admin who made it, or with the key and so with that key's owner. */
const locksOfMaker = (maker: PortalPrincipal['maker']): Lock[] =>
  maker.type === 'user'
    ? [['users', maker.id, 'share']]
    : [lockOfOwner(maker.owner), ['keys', maker.id, 'share']]

const locksOfResource = (id: string | null): Lock[] => (id === null ? [] : [['resources', id, 'share']])

/** The session of an app ends with its client, its resource or its grant. */
const locksOfClient = (client: SessionClient | null, resourceId: string | null): Lock[] =>
  client === null
    ? []
    : [
        ['clients', client.id, 'share'],
        ...locksOfResource(resourceId),
        ['oauthGrants', client.grantId, 'share'],
      ]

const locksOfSignature = (claims: AccessClaims | null): Lock[] =>
  signingKeyOf(claims).map((id) => ['signingKeys', id, 'share'])

const signingKeyOf = (claims: AccessClaims | null): string[] => (claims?.keyId == null ? [] : [claims.keyId])

const byId = ([a]: readonly [string, LockMode], [b]: readonly [string, LockMode]) => (a < b ? -1 : 1)

/**
 * The locks in the order in which they are taken. `queues`: the owners whose wait queue is entered before their row is
 * locked.
 */
export type LockPlan = { advisory: string[]; queues: [id: string, mode: LockMode][]; steps: LockStep[] }

/**
 * Sorts locks into the order in which every change takes them: by table, then by id. A row that is named twice is
 * locked once, in the stronger mode. Otherwise two changes that hold the weaker lock and both ask for the stronger one
 * would wait for each other: a deadlock.
 */
export function planLocks(locks: readonly Lock[]): LockPlan {
  const queues = new Map<string, LockMode>()
  const steps: LockStep[] = []
  for (const what of Object.keys(LOCKABLE) as LockStep['what'][]) {
    const modes = new Map<string, LockMode>()
    for (const lock of locks) {
      if (lock[0] !== what) continue
      const [, id, mode] = lock
      const known = modes.get(id)
      if (known === undefined || STRENGTH[mode] > STRENGTH[known]) modes.set(id, mode)
    }
    if (what === 'users' || what === 'serviceAccounts') for (const [id, mode] of modes) queues.set(id, mode)
    for (const [id, mode] of [...modes].sort(byId)) {
      const last = steps.at(-1)
      if (last?.what === what && last.mode === mode) last.ids.push(id)
      else steps.push({ what, ids: [id], mode })
    }
  }
  const advisory = locks.filter(([what]) => what === 'advisory').map(([, name]) => name)
  return { advisory: [...new Set(advisory)].sort(), queues: [...queues].sort(byId), steps }
}
