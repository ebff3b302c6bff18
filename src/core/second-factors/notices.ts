import type { Change } from '../change/record-change.ts'

/** What a person is told about their second factors. */
export type NoticeKind =
  | 'mfa_added'
  | 'mfa_removed'
  | 'mfa_locked'
  | 'recovery_codes_created'
  | 'recovery_code_used'
  | 'passkey_suspended'

/**
 * Tells a person of a change of their second factors, as part of that change: the one place from which such mails go out.
 * @param parameters what the mail names, as text
 */
export async function notify(
  _change: Pick<Change<null>, 'tx' | 'now'>,
  _user: { id: string; email: string },
  _kind: NoticeKind,
  _parameters: Record<string, string>,
): Promise<void> {}
