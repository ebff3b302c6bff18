import type { Change } from '../change/record-change.ts'
import type { NewMail } from '../mail/queue.ts'

/** What a person is told about their second factors. */
export type Notice =
  | { kind: 'mfa_added' | 'mfa_removed'; factor: string; name?: string | undefined }
  | { kind: 'recovery_codes_created' | 'mfa_locked' }
  | { kind: 'recovery_code_used'; left: number }
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
  switch (notice.kind) {
    case 'mfa_added':
      return changed(`${describeFactor(notice)} was added.`)
    case 'mfa_removed':
      return changed(`${describeFactor(notice)} was removed.`)
    case 'recovery_codes_created':
      return changed('New recovery codes were made; the old ones work no more.')
    case 'recovery_code_used':
      return { kind: 'recovery_code_used', parameters: { codes_left: String(notice.left) } }
    case 'passkey_suspended':
      return { kind: 'passkey_suspended', parameters: { passkey: notice.name } }
    case 'mfa_locked':
      return { kind: 'second_step_locked' }
  }
}

const changed = (change: string) => ({ kind: 'second_factor_changed', parameters: { change } }) as const

function describeFactor({ factor, name }: { factor: string; name?: string | undefined }): string {
  if (factor === 'totp') return 'An authenticator app'
  if (factor === 'passkey') return name === undefined ? 'A passkey' : `The passkey "${name}"`
  return 'Every second factor'
}
