import { covers, KEYS_LABEL } from '../../lib/scopes.ts'
import { lackOfScopes } from '../verify/problems.ts'
import type { KeyPatch, NewKey } from './model.ts'
import type { KeyChange, WholeKey } from './queries.ts'
import type { KeyManager } from './reach.ts'

/** What services that verify a key trust. An owner that set these could pose as another customer. */
const LABELS = ['external_id', 'metadata'] as const satisfies readonly (keyof KeyPatch)[]

/** Whether a change of a key names labels, and nothing else. */
export function isOfLabels(patch: KeyPatch): boolean {
  const names = Object.keys(patch)
  return names.length > 0 && names.every((name) => LABELS.some((label) => label === name))
}

/** Whether a caller may set the labels of the keys that the caller reaches. */
const mayLabel = (caller: KeyManager): boolean => covers(caller.grants, KEYS_LABEL)

/**
 * Checks that a caller may name the labels that a new key is given. A label that is null counts as named.
 * @throws Problem insufficient_scope
 */
export function requireLabelsOf(caller: KeyManager, input: NewKey): void {
  if (LABELS.some((label) => input[label] !== undefined) && !mayLabel(caller))
    throw lackOfScopes([KEYS_LABEL])
}

/**
 * Checks that a caller may change the labels of a key to what is named. A label that stays as it is needs no scope.
 * @throws Problem insufficient_scope
 */
export function requireLabelsChange(caller: KeyManager, before: WholeKey, change: KeyChange): void {
  const { externalId = before.externalId, metadata = before.metadata } = change
  const isSame = externalId === before.externalId && Bun.deepEquals(metadata, before.metadata, true)
  if (!isSame && !mayLabel(caller)) throw lackOfScopes([KEYS_LABEL])
}
