import { findClose } from '../lib/typos.ts'
import type { Command } from './command.ts'

/**
 * An entry of the table of commands. Its module is loaded on demand, so that a short command starts quickly.
 */
export type Entry = { name: string; summary: string; load(): Promise<Command> }

/** Makes an entry. `load` imports the file of the noun, which exports the command under the same name. */
function entry<N extends string>(
  name: N,
  summary: string,
  load: () => Promise<{ commands: Record<N, Command> }>,
): Entry {
  return { name, summary, load: async () => (await load()).commands[name] }
}

const clients = () => import('./commands/clients.ts')
const grants = () => import('./commands/grants.ts')
const resources = () => import('./commands/resources.ts')
const audit = () => import('./commands/audit.ts')
const serviceAccounts = () => import('./commands/service-accounts.ts')
const userDetails = () => import('./commands/user-details.ts')
const keyDetails = () => import('./commands/key-details.ts')
const users = () => import('./commands/users.ts')
const keys = () => import('./commands/keys.ts')
const backups = () => import('./commands/backup.ts')
const moves = () => import('./commands/move.ts')
const imports = () => import('./commands/import.ts')
const mail = () => import('./commands/mail.ts')
const secrets = () => import('./commands/secrets.ts')
const regions = () => import('./commands/regions.ts')
const signingKeys = () => import('./commands/signing-keys.ts')

/**
 * Every command in the order of `--help`. To add a command, put it into the file of its noun and add an entry
 * here.
 */
export const COMMANDS: readonly Entry[] = [
  entry('serve', 'Serve HTTP (also with no command)', () => import('./commands/serve.ts')),
  entry('migrate', 'Migrate the database', () => import('./commands/migrate.ts')),
  entry('admin create', 'Make an admin', users),
  entry('users create', 'Make a user', users),
  entry('users list', 'List users, newest first', users),
  entry('users disable', 'Disable a user', users),
  entry('users enable', 'Enable a user again', users),
  entry('users set-role', 'Give a user another role', users),
  entry('users set-password', "Set a user's password", users),
  entry('users show', 'Show a user', userDetails),
  entry('users sessions', 'List the live sessions of a user', userDetails),
  entry('users delete', 'Delete a user with their sessions and keys', userDetails),
  entry('users set-email', 'Give a user another address', users),
  entry('users verify-email', "Say that a user's address is theirs", users),
  entry('users reset-mfa', 'Take the second factors from a user who lost them', users),
  entry('users unlock', 'End the locks that wrong passwords and codes brought', users),
  entry('keys create', 'Make an API key for a user or a service account', keys),
  entry('keys list', 'List API keys, newest first', keys),
  entry('keys revoke', 'Revoke an API key for good', keys),
  entry('keys rotate', 'Give an API key a new secret', keys),
  entry('keys credits', 'Add to the credits of an API key, or set them', keys),
  entry('keys verify', 'Check whether an API key is valid', keys),
  entry('keys show', 'Show an API key', keyDetails),
  entry('keys usage', 'List how often an API key was used', keyDetails),
  entry('keys refusals', 'List why an API key was refused lately', keyDetails),
  entry('keys lookup', 'Find whose API key somebody found', keyDetails),
  entry('service-accounts list', 'List service accounts, newest first', serviceAccounts),
  entry('service-accounts show', 'Show a service account', serviceAccounts),
  entry('service-accounts create', 'Make a service account', serviceAccounts),
  entry('service-accounts update', 'Change a service account', serviceAccounts),
  entry('service-accounts delete', 'Delete a service account with its keys', serviceAccounts),
  entry('service-accounts managers', 'List, add and remove managers of a service account', serviceAccounts),
  entry('clients list', 'List apps that act for people, newest first', clients),
  entry('clients create', 'Register an app', clients),
  entry('clients delete', 'Delete an app, and end all its sessions', clients),
  entry('resources list', 'List APIs for which apps get tokens, newest first', resources),
  entry('resources create', 'Register an API for which apps get tokens', resources),
  entry('resources delete', 'Delete a registered API, and end every session for it', resources),
  entry('grants list', 'List what a user allowed apps, newest first', grants),
  entry('grants end', 'End what a user allowed an app', grants),
  entry('audit list', 'List events of the audit trail, newest first', audit),
  entry('import seed', 'Import users and API keys from the service that Latchkey replaces', imports),
  entry('import users', 'Import users from a file', imports),
  entry('import keys', 'Import API keys from a file', imports),
  entry('backup', 'Write a backup of the embedded database', backups),
  entry('restore', 'Replace the embedded database by a backup', backups),
  entry('export', 'Write all data to a file, for another database', moves),
  entry('import', 'Read an export into an empty database', moves),
  entry('mail test', 'Send a mail now, to see whether that works', mail),
  entry('mail list', 'List mails that wait, were sent or were given up', mail),
  entry('mail retry', 'Try a mail again', mail),
  entry('mail templates', 'Write the words of the mails, to change them', mail),
  entry('region publication', 'Print the SQL by which home publishes to regions', regions),
  entry('region subscription', 'Print the SQL by which a region copies home', regions),
  entry('region check', 'Say what a region lacks, and how far it is behind', regions),
  entry('region resync', 'Print the SQL by which a region copies home again', regions),
  entry('jobs run', 'Do now what the server does every hour', () => import('./commands/jobs.ts')),
  entry('sessions end', 'End every session', () => import('./commands/sessions.ts')),
  entry('signing-keys list', 'List the keys that sign access tokens', signingKeys),
  entry('signing-keys rotate', 'Make the next signing key', signingKeys),
  entry('signing-keys revoke', 'Refuse every token that a signing key signed', signingKeys),
  entry('signing-keys rewrap', 'The same as "secrets rewrap"', secrets),
  entry('secrets rewrap', 'Encrypt signing keys and TOTP secrets under a new SECRET_KEY', secrets),
  entry('openapi', 'Print the OpenAPI document', () => import('./commands/openapi.ts')),
  entry('healthcheck', 'Check whether the running server works', () => import('./commands/healthcheck.ts')),
  entry('config', 'Print the effective settings without secrets', () => import('./commands/config.ts')),
]

/**
 * Finds the command at the start of a command line. The longest name wins.
 * @returns the command and the words after its name; null if no command has that name
 */
export function findCommand(argv: readonly string[]): { entry: Entry; rest: string[] } | null {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(' ')
    const entry = COMMANDS.find((command) => command.name === name)
    if (entry) return { entry, rest: argv.slice(words) }
  }
  return null
}

/** The command, or the first word of commands, that a mistyped command line probably meant. null: none is close. */
export function findMeant(words: readonly string[]): string | null {
  const names = COMMANDS.map(({ name }) => name)
  const groups = [...new Set(names.map((name) => name.split(' ')[0] ?? ''))]
  const [first = '', second] = words
  if (second !== undefined && !second.startsWith('-')) {
    const whole = findClose(`${first} ${second}`, names)
    if (whole !== undefined) return whole
    // Each word may be mistyped.
    const group = groups.includes(first) ? first : findClose(first, groups)
    const members = names
      .filter((name) => name.startsWith(`${group} `))
      .map((name) => name.split(' ')[1] ?? '')
    const member = group === undefined ? undefined : findClose(second, members)
    if (member !== undefined) return `${group} ${member}`
  }
  return groups.includes(first) ? null : (findClose(first, groups) ?? null)
}
