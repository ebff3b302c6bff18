import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import type { Log } from '../lib/log.ts'
import type { Tell } from '../server/control-client.ts'
import type { Execute, Service } from '../server/control-server.ts'
import type { Io } from './terminal.ts'

/** A named option. With `takes` it has a value; without, it is a flag. */
export type OptionSpec = {
  summary: string
  takes?: string
  required?: boolean
  choices?: readonly string[]
  /** The least and greatest whole number that is accepted. The argument stays text. */
  range?: readonly [least: number, greatest: number]
}
/** A positional argument. All positionals are required. */
export type PositionalSpec = { label: string; summary: string; choices?: readonly string[] }
export type Options = Readonly<Record<string, OptionSpec>>
export type Positionals = Readonly<Record<string, PositionalSpec>>

type TextOf<S> = S extends { choices: readonly (infer C)[] } ? C : string
type OptionValue<S> = S extends { takes: string }
  ? S extends { required: true }
    ? TextOf<S>
    : TextOf<S> | undefined
  : boolean

/** The arguments of a command by name, typed by their specs. */
export type Args<P, O> = { [K in keyof P]: TextOf<P[K]> } & { [K in keyof O]: OptionValue<O[K]> }

type Described<P, O> = {
  /** Text of `--help` below the usage. */
  details?: string
  /** Complete command lines without the program's name. */
  examples?: readonly string[]
  positionals?: P
  options?: O
}

type Shows<R> = {
  /**
   * Writes the result for people. With `--json` the result itself is printed. An empty text prints nothing.
   */
  show(result: R): string
  /**
   * Whether the process ends with exit code 1 although the command printed its result, as for a key that is
   * not valid.
   */
  isFailure?(result: R): boolean
}

/** What a command without a service receives. */
export type Call = {
  config: Config
  warnings: readonly string[]
  io: Io
  /** Runs another command of the table. A server uses it for a command line that cannot open the database. */
  execute: Execute
}

/** A command that runs as long as it needs, and returns the exit code of the process. */
type ProcessCommand<P, O> = Described<P, O> & {
  kind: 'process'
  run(call: Call, args: Args<P, O>): Promise<number>
}

/** A command that needs the settings but no service. */
type LocalCommand<P, O, R> = Described<P, O> &
  Shows<R> & {
    kind: 'local'
    run(call: Call, args: Args<P, O>): Promise<R>
  }

/**
 * A command that works on the service. If a server holds the embedded database, `run` runs inside that
 * server: it must not use the terminal, and its result must survive JSON.
 */
type ServiceCommand<P, O, R> = Described<P, O> &
  Shows<R> & {
    kind: 'service'
    /** Reads, in the terminal's process, what must not be on a command line, such as a password. */
    readInput?(io: Io, args: Args<P, O>, config: Config): Promise<string | null>
    run(context: Context, args: Args<P, O>, input: string | null, tell: Tell, service: Service): Promise<R>
    /**
     * Runs in place of `run` if no server holds the embedded database. `run` requires that the database
     * exists.
     */
    runAlone?(config: Config, log: Log, input: string | null): Promise<R>
    /** The rest of the work, in the terminal's process. */
    finish?(result: R, args: Args<P, O>, config: Config): Promise<R>
  }

type AnyArgs = Readonly<Record<string, string | boolean | undefined>>

/** A command as the command line uses it: its arguments are checked by its specs, its result is opaque. */
export type Command = Described<Positionals, Options> &
  (
    | { kind: 'process'; run(call: Call, args: AnyArgs): Promise<number> }
    | ({ kind: 'local'; run(call: Call, args: AnyArgs): Promise<unknown> } & Shows<unknown>)
    | ({
        kind: 'service'
        readInput?(io: Io, args: AnyArgs, config: Config): Promise<string | null>
        run(
          context: Context,
          args: AnyArgs,
          input: string | null,
          tell: Tell,
          service: Service,
        ): Promise<unknown>
        runAlone?(config: Config, log: Log, input: string | null): Promise<unknown>
        finish?(result: unknown, args: AnyArgs, config: Config): Promise<unknown>
      } & Shows<unknown>)
  )

/**
 * Declares a command. The types of `args` follow from `positionals` and `options`.
 * @example defineCommand({ kind: 'service', positionals: { who: { label: 'EMAIL|ID', summary: '…' } }, run,
 *   show })
 */
export function defineCommand<
  const P extends Positionals = Record<never, never>,
  const O extends Options = Record<never, never>,
  R = never,
>(command: ProcessCommand<P, O> | LocalCommand<P, O, R> | ServiceCommand<P, O, R>): Command {
  // The cast is safe: `parseArguments` returns the arguments that the specs declare, and a result is passed
  // only to the `show` of its own command.
  return command as unknown as Command
}
