import type { Report } from '../../core/import/outcome.ts'
import { table } from '../table.ts'

/** What an import came to, for people: the counts, and whatever was refused with its reason. */
export function showReport({ users, keys }: Report): string {
  const lines = [['Users', users] as const, ['Keys', keys] as const].map(
    ([kind, { imported, already_imported, refused }]) =>
      `${kind}: ${imported} imported, ${already_imported} imported before, ${refused.length} refused.`,
  )
  const refusals = [
    ...users.refused.map((refusal) => ['user', refusal] as const),
    ...keys.refused.map((refusal) => ['key', refusal] as const),
  ].map(([kind, { id, email, reason }]) =>
    [kind, String(id ?? '-'), email ?? '-', reason].map(withoutControls),
  )
  if (refusals.length === 0) return lines.join('\n')
  return `${lines.join('\n')}\n\n${table(['REFUSED', 'ID', 'EMAIL', 'REASON'], refusals)}`
}

/** What somebody wrote into a database must not write on a terminal. */
function withoutControls(text: string): string {
  return text.replace(/\p{C}/gu, '\uFFFD')
}
