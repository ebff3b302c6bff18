import type { Config } from '../config/config.ts'
import { loadConfig, type SettingsSource } from '../config/load.ts'
import { createLog, type Log } from '../lib/log.ts'
import { hideCredentials } from '../lib/secret.ts'
import { VERSION } from '../lib/version.ts'
import type { ControlAnswer, ControlRequest, Tell } from '../server/control-client.ts'
import type { Service } from '../server/control-server.ts'
import { describeFailure } from '../server/failure.ts'
import { parseArguments } from './arguments.ts'
import type { Command } from './command.ts'
import { type Entry, findCommand, findMeant } from './commands.ts'
import { helpOf, helpOfGroup, helpOfProgram } from './help.ts'
import type { Io } from './terminal.ts'
import { NAME } from './version.ts'

const DONE = 0
const FAILED = 1
const WRONG_USE = 2

/**
 * Runs one command line.
 * @param argv the words after the program's name
 * @param source where the settings come from
 * @returns the exit code of the process: 0, 1 (failure), 2 (wrong use), or the code of a signal
 */
export async function runCommandLine(
  argv: readonly string[],
  io: Io,
  source: SettingsSource,
): Promise<number> {
  const [first] = argv
  if (first === '--version' || first === '-V') return print(io, `${NAME} ${VERSION}`)
  if (first === '--help' || first === '-h') return print(io, helpOfProgram())
  const words = first === 'help' ? [...argv.slice(1), '--help'] : argv
  if (first === 'help' && argv.length === 1) return print(io, helpOfProgram())

  const found = findCommand(first === undefined || first.startsWith('-') ? ['serve', ...words] : words)
  if (!found) return refuseUnknown(words, io)
  const command = await found.entry.load()
  const parsed = parseArguments(command, found.rest)
  if ('fault' in parsed) return refuse(io, parsed.fault, found.entry)
  if (parsed.help) return print(io, helpOf(found.entry, command))

  const settings = loadConfig(source, io)
  if ('faults' in settings) {
    io.err(`${NAME}: these settings are wrong:\n${settings.faults.map((fault) => `  - ${fault}\n`).join('')}`)
    return WRONG_USE
  }
  const { config, warnings } = settings
  const call = { config, warnings, io, execute }
  try {
    if (command.kind === 'process') return await command.run(call, parsed.args)
    const result =
      command.kind === 'local'
        ? await command.run(call, parsed.args)
        : await runOnService(config, io, found.entry, command, { ...parsed, argv: found.rest })
    await print(io, parsed.json ? JSON.stringify(result, null, 2) : command.show(result))
    return command.isFailure?.(result) ? FAILED : DONE
  } catch (error) {
    return fail(io, config, error)
  }
}

type ServiceCommand = Extract<Command, { kind: 'service' }>
type Given = { args: Record<string, string | boolean | undefined>; argv: readonly string[] }

async function runOnService(
  config: Config,
  io: Io,
  entry: Entry,
  command: ServiceCommand,
  given: Given,
): Promise<unknown> {
  const input = (await command.readInput?.(io, given.args, config)) ?? null
  // Loaded on demand, because help and health checks need no database.
  const { withService } = await import('./with-service.ts')
  const { runAlone } = command
  const result = await withService(config, io, {
    here: (service, tell) => command.run(service.context, given.args, input, tell, service),
    ...(runAlone && { alone: (log: Log) => runAlone(config, log, input) }),
    there: { command: entry.name, argv: [...given.argv], input },
  })
  return command.finish ? command.finish(result, given.args, config) : result
}

/** Runs a command that a client sent to the server's control socket. The client may be of another release. */
async function execute(
  service: Service,
  { command: name, argv, input }: ControlRequest,
  tell: Tell,
): Promise<ControlAnswer> {
  const entry = findCommand(name.split(' '))?.entry
  const command = await entry?.load()
  if (entry?.name !== name || command?.kind !== 'service') {
    return { error: `the running server is another release: it has no command "${name}"` }
  }
  const parsed = parseArguments(command, argv)
  if ('fault' in parsed) return { error: `the running server is another release: ${parsed.fault}` }
  const { context } = service
  context.log.info({ command: name }, 'A command runs')
  return { result: await command.run(context, parsed.args, input, tell, service) }
}

async function print(io: Io, text: string): Promise<number> {
  if (text !== '') await io.out(text.endsWith('\n') ? text : `${text}\n`)
  return DONE
}

function fail(io: Io, config: Config, error: unknown): number {
  io.err(`${NAME}: ${hideCredentials(describeFailure(error))}\n`)
  if (config.logLevel === 'debug') {
    // Written by the log, which leaves submitted values out of errors.
    const log = createLog({ logLevel: 'debug', logFormat: config.logFormat }, io.err)
    log.debug({ err: error }, 'The command failed')
    log.flush()
  }
  return FAILED
}

async function refuseUnknown(words: readonly string[], io: Io): Promise<number> {
  const group = helpOfGroup(words[0] ?? '')
  if (group !== null && words.includes('--help')) return print(io, group)
  const name = words.slice(0, group === null ? 1 : 2).join(' ')
  const meant = findMeant(words)
  const question = meant === null ? '' : `; did you mean "${meant}"?`
  io.err(
    `${NAME}: there is no command "${hideCredentials(name)}"${question}\n\n${group ?? `See ${NAME} --help\n`}`,
  )
  return WRONG_USE
}

function refuse(io: Io, fault: string, entry: Entry): number {
  io.err(`${NAME}: ${hideCredentials(fault)}\nSee ${NAME} ${entry.name} --help\n`)
  return WRONG_USE
}
