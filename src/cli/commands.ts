import type { Command } from './command.ts'

/** A command in the table: its module is loaded when it is asked for, so that a quick one stays quick. */
export type Entry = { name: string; summary: string; load(): Promise<{ command: Command }> }

/** Every command, in the order of `--help`. To add one: a file beside this one, and a line here. */
export const COMMANDS: readonly Entry[] = [
  { name: 'serve', summary: 'Serve HTTP (also with no command)', load: () => import('./serve.ts') },
  { name: 'migrate', summary: 'Bring the database up to date', load: () => import('./migrate.ts') },
  { name: 'admin create', summary: 'Make an admin', load: () => import('./admin-create.ts') },
  { name: 'users set-role', summary: 'Give a user another role', load: () => import('./users-set-role.ts') },
  { name: 'openapi', summary: 'Print the OpenAPI document', load: () => import('./openapi.ts') },
  {
    name: 'healthcheck',
    summary: 'Ask the running server whether it works',
    load: () => import('./healthcheck.ts'),
  },
  {
    name: 'config',
    summary: 'Print the settings in force, secrets hidden',
    load: () => import('./config.ts'),
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
