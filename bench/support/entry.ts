import type { Budget } from './budget.ts'

/** One benchmark. */
export type Entry = {
  /** As it is asked for on the command line. */
  name: string
  /** Roughly how long it takes, for whoever waits. */
  estimateSeconds(options: RunOptions): number
  run(options: RunOptions): Promise<Finding[]>
}

export type RunOptions = {
  /** How often each side is measured; they take turns. */
  rounds: number
  /** How long each measurement lasts. */
  seconds: number
  /** Whether Latchkey runs from source or as the binary, where an entry does not measure both. */
  program: Program
  /** Where Latchkey writes a profile of its processor time when it ends; null: none. */
  profileDirectory: string | null
}

/** What Latchkey is started as. */
export type Program = 'source' | 'binary'

/** One figure that came out: a row of the table. */
export type Finding = {
  what: string
  unit: 'ratio' | 'ms' | 'MB' | 'kB'
  figure: Figure
  /** The same ratio by wall clock, and with PostgreSQL's processor time, where the figure counts the two processes' own. */
  byTime?: Figure
  withDatabase?: Figure
  /** null: there is none, it stands for comparison. */
  budget: Budget | null
  /** What else is worth knowing, a line each. */
  details: readonly string[]
}

/** The median of the rounds, and the least and the greatest of them. */
export type Figure = { middle: number; least: number; greatest: number }
