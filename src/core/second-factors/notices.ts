import type { Change } from '../change/record-change.ts'
import type { NewMail } from '../mail/queue.ts'

/** What a person is told by mail about their second factors, with the values that the mail names. */
export type Notice =
  | { kind: 'mfa_added' | 'mfa_removed'; factor: 'totp' | 'passkey' | 'all'; name?: string | undefined }
  | { kind: 'recovery_codes_created' }
  | { kind: 'recovery_code_used'; left: number }
  | { kind: 'mfa_locked' }
  | { kind: 'passkey_suspended'; name: string }

/** Tells a person of a change of their second factors, as part of that change. */
export function notify(
  { queueMail }: Pick<Change<null>, 'queueMail'>,
  { id, email }: { id: string; email: string },
  notice: Notice,
): Promise<void> {
  return queueMail({ ...mailOf(notice), to: email, userId: id })
}

function mailOf(notice: Notice): Pick<NewMail, 'kind' | 'parameters'> {
  if (notice.kind === 'mfa_locked') return { kind: 'second_step_locked' }
  if (notice.kind === 'recovery_code_used') {
    return { kind: 'recovery_code_used', parameters: { codes_left: String(notice.left) } }
  }
  if (notice.kind === 'passkey_suspended') {
    return { kind: 'passkey_suspended', parameters: { passkey: notice.name } }
  }
  return { kind: 'second_factor_changed', parameters: { change: describeChange(notice) } }
}

function describeChange(
  notice: Extract<Notice, { kind: 'mfa_added' | 'mfa_removed' | 'recovery_codes_created' }>,
): string {
  if (notice.kind === 'recovery_codes_created')
    return 'New recovery codes were made, and the old ones are void.'
  if (notice.factor === 'all') return 'All second factors and recovery codes were removed.'
  const what = notice.factor === 'totp' ? 'An authenticator app' : `The passkey "${notice.name ?? ''}"`
  return `${what} was ${notice.kind === 'mfa_added' ? 'added' : 'removed'}.`
}
