import { SYSTEM } from '../../core/audit/audit.ts'
import type { Context } from '../../core/context.ts'
import { setPasswordFor } from '../../core/login/password.ts'
import { unlockUser } from '../../core/login/unlock.ts'
import { OPERATOR } from '../../core/principal.ts'
import { resetFactors } from '../../core/second-factors/factors.ts'
import {
  changeUser,
  createAdmin,
  createUser,
  type Ending,
  listAllUsers,
  presentAllForAdmins,
  presentForAdmins,
  presentUser,
  requireUserId,
} from '../../core/users/accounts.ts'
import type { UserPatch } from '../../core/users/model.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { generatePassword, readNewPassword, showPassword } from '../password.ts'
import { counted, table } from '../terminal.ts'

const email = { takes: 'EMAIL', required: true, summary: 'The e-mail address of the log-in' } as const
const passwordStdin = { summary: 'Read the password from standard input' }
const who = { label: 'EMAIL|ID', summary: 'The user' }

/** `latchkey users …`, and `latchkey admin create`. */
export const commands = {
  'admin create': defineCommand({
    kind: 'service',
    details: `
The password is asked for twice, without echo. After an empty answer, or without a terminal, a strong random password is
generated and printed only once. With --password-stdin it is all of standard input, without the line break at the end.`,
    examples: [
      'admin create --email you@example.com',
      'admin create --email you@example.com --password-stdin < password.txt',
    ],
    options: { email, 'password-stdin': passwordStdin },
    readInput: (io, args) => readNewPassword(io, args['password-stdin']),
    async run(context, { email }, input) {
      const password = input ?? generatePassword(context.config)
      const user = presentUser(await createAdmin(context, SYSTEM, { email, password }))
      return { ...user, ...(input === null && { password }) }
    },
    show: ({ email, id, password }) =>
      [`Admin ${email} made (id ${id}).`, ...showPassword(password)].join('\n'),
  }),

  'users create': defineCommand({
    kind: 'service',
    details: `
The password is asked for twice, without echo. After an empty answer, or without a terminal, a strong random password is
generated and printed only once. With --password-stdin it is all of standard input, without the line break at the end.
With --no-password no log-in to the account is possible until a password is set. SIGNUP=closed has no effect here.`,
    examples: [
      'users create --email user@example.com',
      'users create --email user@example.com --role admin --password-stdin < password.txt',
    ],
    options: {
      email,
      role: { takes: 'ROLE', choices: ['admin', 'user'], summary: 'admin, or user (the default)' },
      'email-verified': { summary: 'The address is known to belong to the user' },
      'password-stdin': passwordStdin,
      'no-password': { summary: 'Set no password' },
    },
    async readInput(io, args) {
      if (!args['no-password']) return readNewPassword(io, args['password-stdin'])
      if (args['password-stdin']) throw new Error('--password-stdin and --no-password exclude each other')
      return null
    },
    async run(context, args, input) {
      const { email, role = 'user', 'email-verified': email_verified, 'no-password': hasNone } = args
      const password = hasNone ? null : (input ?? generatePassword(context.config))
      const given = { email, role, email_verified }
      const user = await createUser(
        context,
        SYSTEM,
        OPERATOR,
        password === null ? given : { ...given, password },
      )
      const isMade = input === null && password !== null
      return { ...(await presentForAdmins(context, user)), ...(isMade && { password }) }
    },
    show: ({ email, role, id, password }) =>
      [`User ${email} made (role ${role}, id ${id}).`, ...showPassword(password)].join('\n'),
  }),

  'users list': defineCommand({
    kind: 'service',
    examples: ['users list --query @example.com', 'users list --limit 10000 --json'],
    options: {
      query: { takes: 'TEXT', summary: 'Only users whose address, or words of it, begin with this text' },
      ...pageOptions,
    },
    async run(context, { query, limit, cursor }) {
      const page = await listAllUsers(context, { text: query, limit: Number(limit ?? DEFAULT_LIMIT), cursor })
      return { items: await presentAllForAdmins(context, page.rows), next_cursor: page.nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map((user) => [
        user.email,
        user.role,
        user.is_active ? 'active' : 'disabled',
        user.created_at,
        user.id,
      ])
      const list = table(['EMAIL', 'ROLE', 'STATE', 'CREATED', 'ID'], rows) || 'No users.'
      return next_cursor === null ? list : `${list}\nThere are more: --cursor ${next_cursor}`
    },
  }),

  'users disable': defineCommand({
    kind: 'service',
    details: `
Ends the user's sessions at once. The user's keys are refused until the user is enabled again. The service accounts that
only this user manages are listed, and stay enabled without --disable-service-accounts. The last active admin cannot be
disabled.`,
    examples: ['users disable user@example.com', 'users disable user@example.com --disable-service-accounts'],
    positionals: { who },
    options: {
      'disable-service-accounts': {
        summary: 'Also disable the service accounts that only this user manages',
      },
    },
    run: (context, { who, 'disable-service-accounts': disablesAccounts }) =>
      setActive(context, who, false, { disablesAccounts }),
    show({ email, service_accounts: accounts = [] }) {
      const rows = accounts.map(({ id, name }) => [id, name])
      const list = table(['SERVICE ACCOUNT', 'NAME'], rows)
      return list === ''
        ? `${email} is disabled.`
        : `${email} is disabled. Service accounts that they alone manage:\n${list}`
    },
  }),

  'users enable': defineCommand({
    kind: 'service',
    details: "The user's keys work again. Ended sessions stay ended.",
    examples: ['users enable user@example.com'],
    positionals: { who },
    run: (context, { who }) => setActive(context, who, true),
    show: ({ email }) => `${email} is enabled.`,
  }),

  'users set-role': defineCommand({
    kind: 'service',
    details: 'Takes effect at the next request of that user. The last active admin stays an admin.',
    examples: ['users set-role you@example.com admin'],
    positionals: { who, role: { label: 'admin|user', summary: 'The role', choices: ['admin', 'user'] } },
    run: async (context, { who, role }) =>
      presentUser(
        (await changeUser(context, SYSTEM, OPERATOR, await requireUserId(context, who), { role })).user,
      ),
    show: ({ email, role }) => `${email} has the role ${role}.`,
  }),

  'users set-email': defineCommand({
    kind: 'service',
    details: `
The old address is told, and links that were mailed are void. The new one is not verified: with SMTP_URL, and unless
EMAIL_VERIFICATION=off, it gets a link for that.`,
    examples: ['users set-email user@example.com other@example.com'],
    positionals: { who, email: { label: 'ADDRESS', summary: 'The new address' } },
    run: async (context, { who, email }) => patchUser(context, who, { email }),
    show: ({ id, email }) => `The user ${id} has the address ${email}.`,
  }),

  'users verify-email': defineCommand({
    kind: 'service',
    details: 'For an address that is known in another way to be theirs.',
    examples: ['users verify-email user@example.com'],
    positionals: { who },
    run: async (context, { who }) => patchUser(context, who, { email_verified: true }),
    show: ({ email }) => `${email} is verified.`,
  }),

  'users reset-mfa': defineCommand({
    kind: 'service',
    details: `
For somebody who lost their second factors: authenticator app, passkeys and recovery codes all go, and their sessions
end. The password stays; be sure of who asks.`,
    examples: ['users reset-mfa user@example.com'],
    positionals: { who },
    async run(context, { who }) {
      const id = await requireUserId(context, who)
      await resetFactors(context, SYSTEM, OPERATOR, id)
      return { id }
    },
    show: ({ id }) => `The user ${id} has no second factor any more; their sessions ended.`,
  }),

  'users unlock': defineCommand({
    kind: 'service',
    details: 'Forgets their wrong passwords and wrong codes, and ends the locks that these brought.',
    examples: ['users unlock user@example.com'],
    positionals: { who },
    async run(context, { who }) {
      const id = await requireUserId(context, who)
      await unlockUser(context, SYSTEM, OPERATOR, id)
      return { id }
    },
    show: ({ id }) => `The user ${id} can log in again.`,
  }),

  'users set-password': defineCommand({
    kind: 'service',
    details: `
Ends the user's sessions and unused reset tokens. The password is asked for twice, without echo. After an empty answer,
or without a terminal, a strong random password is generated and printed only once. With --password-stdin it is all of
standard input, without the line break at the end.`,
    examples: [
      'users set-password user@example.com',
      'users set-password user@example.com --revoke-keys --password-stdin < password.txt',
    ],
    positionals: { who },
    options: {
      'password-stdin': passwordStdin,
      'revoke-keys': { summary: "End the user's API keys too" },
    },
    readInput: (io, args) => readNewPassword(io, args['password-stdin']),
    async run(context, { who, 'revoke-keys': revokesKeys }, input) {
      const id = await requireUserId(context, who)
      const password = input ?? generatePassword(context.config)
      const ended = await setPasswordFor(context, SYSTEM, id, password, { revokesKeys })
      return { id, ...ended, ...(input === null && { password }) }
    },
    show: ({ sessions_ended, keys_revoked, password }) => {
      const keys = keys_revoked > 0 ? ` and ${counted(keys_revoked, 'key')}` : ''
      const ended = `The password is set; ${counted(sessions_ended, 'session')}${keys} ended.`
      return [ended, ...showPassword(password)].join('\n')
    },
  }),
}

async function patchUser(context: Context, who: string, patch: UserPatch) {
  const id = await requireUserId(context, who)
  return presentForAdmins(context, (await changeUser(context, SYSTEM, OPERATOR, id, patch)).user)
}

async function setActive(context: Context, who: string, isActive: boolean, ending?: Ending) {
  const id = await requireUserId(context, who)
  const patch = { is_active: isActive }
  const { user, accounts } = await changeUser(context, SYSTEM, OPERATOR, id, patch, ending)
  return { ...(await presentForAdmins(context, user)), ...(accounts && { service_accounts: accounts }) }
}
