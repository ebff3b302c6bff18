import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import type { Log } from '../lib/log.ts'
import type { Tell } from '../server/control-client.ts'
import type { Execute, Service } from '../server/control-server.ts'
import type { Io } from './terminal.ts'

/** A named option: a flag, or with `takes` one that has a value. */
export type OptionSpec = {
  summary: string
  takes?: string
  required?: boolean
  choices?: readonly string[]
  /** The least and the greatest whole number that it takes; it stays text. */
  range?: readonly [least: number, greatest: number]
}
/** A word that stands at its place; all of them are required. */
export type PositionalSpec = { label: string; summary: string; choices?: readonly string[] }
export type Options = Readonly<Record<string, OptionSpec>>
export type Positionals = Readonly<Record<string, PositionalSpec>>

type TextOf<S> = S extends { choices: readonly (infer C)[] } ? C : string
type OptionValue<S> = S extends { takes: string }
  ? S extends { required: true }
    ? TextOf<S>
    : TextOf<S> | undefined
  : boolean

/** The arguments of a command, by name, each of the type that its spec says. */
export type Args<P, O> = { [K in keyof P]: TextOf<P[K]> } & { [K in keyof O]: OptionValue<O[K]> }

type Described<P, O> = {
  /** For `--help`, below the usage: what a person has to know besides. */
  details?: string
  /** Whole command lines without the program's name. */
  examples?: readonly string[]
  positionals?: P
  options?: O
}

type Shows<R> = {
  /** The result for people; `--json` prints the result itself. No text prints nothing. */
  show(result: R): string
  /** Whether the answer, printed all the same, is a no: the process then ends with 1. */
  isFailure?(result: R): boolean
}

/** What a command that needs no service is given. */
export type Call = {
  config: Config
  warnings: readonly string[]
  io: Io
  /** Runs another command of the table: what a server does for a command line that cannot open its database. */
  execute: Execute
}

/** Lasts as long as it likes and says with which code the process ends. */
type ProcessCommand<P, O> = Described<P, O> & {
  kind: 'process'
  run(call: Call, args: Args<P, O>): Promise<number>
}

/** Needs the settings, and no service. */
type LocalCommand<P, O, R> = Described<P, O> &
  Shows<R> & {
    kind: 'local'
    run(call: Call, args: Args<P, O>): Promise<R>
  }

/**
 * Works on the service. On an embedded database that a server holds, `run` runs in the server: it must not touch the
 * terminal, and its result must survive JSON.
 */
type ServiceCommand<P, O, R> = Described<P, O> &
  Shows<R> & {
    kind: 'service'
    /** Asks for, or reads, what must not stand on a command line; where the person sits. */
    readInput?(io: Io, args: Args<P, O>, config: Config): Promise<string | null>
    run(context: Context, args: Args<P, O>, input: string | null, tell: Tell, service: Service): Promise<R>
    /** Where no server has the embedded database, in place of `run`, which needs one that is there. */
    runAlone?(config: Config, log: Log, input: string | null): Promise<R>
    /** What is left to do where the person sits. */
    finish?(result: R, args: Args<P, O>, config: Config): Promise<R>
  }

type AnyArgs = Readonly<Record<string, string | boolean | undefined>>

/** A command as the command line sees it: its arguments checked against its specs, its result opaque. */
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
 * Declares a command: the types of `args` follow from `positionals` and `options`.
 * @example defineCommand({ kind: 'service', positionals: { who: { label: 'EMAIL|ID', summary: '…' } }, run, show })
 */
export function defineCommand<
  const P extends Positionals = Record<never, never>,
  const O extends Options = Record<never, never>,
  R = never,
>(command: ProcessCommand<P, O> | LocalCommand<P, O, R> | ServiceCommand<P, O, R>): Command {
  // `parseArguments` makes what the specs promise, and a result goes to no other command's `show`.
  return command as unknown as Command
}
