import type { Principal } from '../principal.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { LOCKABLE, type LockMode, type LockStep } from './queries.ts'

/** Rows to lock: what, by which id, and how; or an advisory lock by its name. */
export type Lock =
  | readonly [what: LockStep['what'], id: string, mode: LockMode]
  | readonly [what: 'advisory', name: string]

const STRENGTH: Record<LockMode, number> = { share: 0, 'no key update': 1, update: 2 }

/** The rows that a caller stands on. Whatever ends the caller's power updates or deletes one of them. */
export function locksOfCaller(caller: Principal): Lock[] {
  const signedBy: Lock[] = signingKeyOf(caller.claims).map((id) => ['signingKeys', id, 'share'])
  if (caller.kind === 'user') {
    return [['users', caller.userId, 'share'], ['sessions', caller.sessionId, 'share'], ...signedBy]
  }
  return [
    [caller.owner.type === 'user' ? 'users' : 'serviceAccounts', caller.owner.id, 'share'],
    ['keys', caller.keyId, 'share'],
    ['secrets', caller.secretId, 'share'],
    ...signedBy,
  ]
}

const signingKeyOf = (claims: AccessClaims | null): string[] => (claims?.keyId == null ? [] : [claims.keyId])

const byId = ([a]: readonly [string, LockMode], [b]: readonly [string, LockMode]) => (a < b ? -1 : 1)

/** What is locked, in its order. `queues`: the owners whose queue comes before their row. */
export type LockPlan = { advisory: string[]; queues: [id: string, mode: LockMode][]; steps: LockStep[] }

/**
 * Puts locks into the order in which they are taken: by table, then by id. A row that is named twice is locked once, in
 * the stronger mode: two holders of a weaker lock that both raise it would wait for each other.
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
