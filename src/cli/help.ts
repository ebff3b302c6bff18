import { spellOption } from './arguments.ts'
import type { Command } from './command.ts'
import { COMMANDS, type Entry } from './commands.ts'
import { NAME } from './version.ts'

/** The text of `latchkey --help`. */
export function helpOfProgram(): string {
  return [
    'Users, service accounts and API keys for an API.\n',
    `Usage: ${NAME} [command] [options]\n`,
    'Commands:',
    table(COMMANDS.map(({ name, summary }) => [name, summary])),
    'Options:',
    table([
      ['--help, -h', `This text; ${NAME} <command> --help tells more`],
      ['--version, -V', 'The release'],
    ]),
    'Settings come from the environment, or from .env in the working directory; the real environment wins.',
    `Without DATABASE_URL the database is an embedded one in DATA_DIR (./data): for trying out and for one small`,
    `machine. To move to a server, set DATABASE_URL and SECRET_KEY.\n`,
    'Exit code: 0 done, 1 failed, 2 wrong use or wrong settings.',
  ].join('\n')
}

/** The help of all commands whose name starts with a word such as `users`. null if there are none. */
export function helpOfGroup(word: string): string | null {
  const members = COMMANDS.filter(({ name }) => name.startsWith(`${word} `))
  if (members.length === 0) return null
  return `Commands:\n${table(members.map(({ name, summary }) => [name, summary]))}`
}

/** The text of `latchkey <command> --help`. */
export function helpOf(entry: Entry, command: Command): string {
  const positionals = Object.values(command.positionals ?? {})
  const options = Object.entries(command.options ?? {})
  const group = helpOfGroup(entry.name)
  const words = [
    ...positionals.map(({ label }) => label),
    ...options.filter(([, spec]) => spec.required).map(([name, spec]) => spellOption(name, spec)),
    '[options]',
  ]
  const optionRows = options.map(([name, spec]): Row => [spellOption(name, spec), spec.summary])
  if (command.kind !== 'process') optionRows.push(['--json', 'Print JSON'])
  optionRows.push(['--help, -h', 'This text'])
  return [
    `${entry.summary}.\n`,
    `Usage: ${NAME} ${entry.name} ${words.join(' ')}\n`,
    ...(positionals.length > 0
      ? ['Arguments:', table(positionals.map(({ label, summary }) => [label, summary]))]
      : []),
    'Options:',
    table(optionRows),
    ...(command.examples ? ['Examples:', ...command.examples.map((line) => `  ${NAME} ${line}`), ''] : []),
    ...(command.details ? [`${command.details.trim()}\n`] : []),
    // `import` is a command and also the first word of others.
    ...(group === null ? [] : [group]),
  ].join('\n')
}

type Row = readonly [left: string, right: string]

function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join('')
}
