import type { Command } from './command.ts'

/** A command in the table: its module is loaded when it is asked for, so that a quick one stays quick. */
export type Entry = { name: string; summary: string; load(): Promise<{ command: Command }> }

/** Every command, in the order of `--help`. To add one: a file beside this one, and a line here. */
export const COMMANDS: readonly Entry[] = [
  { name: 'serve', summary: 'Serve HTTP (also with no command)', load: () => import('./commands/serve.ts') },
  { name: 'migrate', summary: 'Bring the database up to date', load: () => import('./commands/migrate.ts') },
  { name: 'admin create', summary: 'Make an admin', load: () => import('./commands/admin-create.ts') },
  { name: 'users create', summary: 'Make a user', load: () => import('./commands/users.ts') },
  { name: 'users list', summary: 'List users, newest first', load: () => import('./commands/users-list.ts') },
  { name: 'users disable', summary: 'Shut a user out', load: () => import('./commands/users-disable.ts') },
  { name: 'users enable', summary: 'Let a user in again', load: () => import('./commands/users-enable.ts') },
  {
    name: 'users set-role',
    summary: 'Give a user another role',
    load: () => import('./commands/users-set-role.ts'),
  },
  {
    name: 'users set-password',
    summary: "Set a user's password",
    load: () => import('./commands/users-set-password.ts'),
  },
  {
    name: 'keys create',
    summary: 'Make an API key for a user or a service account',
    load: () => import('./commands/keys.ts'),
  },
  {
    name: 'keys list',
    summary: 'List API keys, newest first',
    load: () => import('./commands/keys-list.ts'),
  },
  {
    name: 'keys revoke',
    summary: 'End an API key for good',
    load: () => import('./commands/keys-revoke.ts'),
  },
  {
    name: 'keys rotate',
    summary: 'Give an API key a new secret',
    load: () => import('./commands/keys-rotate.ts'),
  },
  {
    name: 'keys verify',
    summary: 'Say whether an API key is good',
    load: () => import('./commands/keys-verify.ts'),
  },
  {
    name: 'import seed',
    summary: 'Take over users and API keys from the service that this one replaces',
    load: () => import('./commands/import.ts'),
  },
  {
    name: 'import users',
    summary: 'Import users from a file',
    load: () => import('./commands/import-users.ts'),
  },
  {
    name: 'import keys',
    summary: 'Import API keys from a file',
    load: () => import('./commands/import-keys.ts'),
  },
  { name: 'sessions end', summary: 'End every session', load: () => import('./commands/sessions.ts') },
  {
    name: 'signing-keys list',
    summary: 'List the keys that sign access tokens',
    load: () => import('./commands/signing-keys.ts'),
  },
  {
    name: 'signing-keys rotate',
    summary: 'Make the next signing key',
    load: () => import('./commands/signing-keys-rotate.ts'),
  },
  {
    name: 'signing-keys revoke',
    summary: 'Refuse all that a signing key signed',
    load: () => import('./commands/signing-keys-revoke.ts'),
  },
  {
    name: 'signing-keys rewrap',
    summary: 'Encrypt the signing keys under a new SECRET_KEY',
    load: () => import('./commands/signing-keys-rewrap.ts'),
  },
  { name: 'openapi', summary: 'Print the OpenAPI document', load: () => import('./commands/openapi.ts') },
  {
    name: 'healthcheck',
    summary: 'Ask the running server whether it works',
    load: () => import('./commands/healthcheck.ts'),
  },
  {
    name: 'config',
    summary: 'Print the settings in force, secrets hidden',
    load: () => import('./commands/config.ts'),
  },
]

/** The command that a line starts with, the longest name first, and what follows it; null: none of that name. */
export function findCommand(argv: readonly string[]): { entry: Entry; rest: string[] } | null {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(' ')
    const entry = COMMANDS.find((command) => command.name === name)
    if (entry) return { entry, rest: argv.slice(words) }
  }
  return null
}
