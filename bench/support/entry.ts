import type { Budget } from './budget.ts'

/** One benchmark. */
export type Entry = {
  /** The name on the command line. */
  name: string
  /** The approximate duration in seconds. */
  estimateSeconds(options: RunOptions): number
  /** Runs only where it is named: it takes long, and gigabytes of the disk. */
  isOnDemand?: true
  run(options: RunOptions): Promise<Finding[]>
}

export type RunOptions = {
  /** How often each side is measured. */
  rounds: number
  /** How long each measurement lasts. */
  seconds: number
  /** Whether Latchkey runs from source or as the binary, in entries that do not measure both. */
  program: Program
  /** Where Latchkey writes a profile of its processor time when it ends. null: no profile. */
  profileDirectory: string | null
}

/** The form in which Latchkey is started. */
export type Program = 'source' | 'binary'

/** One figure: a row of the table. */
export type Finding = {
  what: string
  unit: 'ratio' | 'ms' | 'MB' | 'kB' | 'a second'
  figure: Figure
  /**
   * The same ratio by wall clock and including PostgreSQL's processor time, where the figure counts only that
   * of the two processes.
   */
  byTime?: Figure
  withDatabase?: Figure
  /** null for a figure that only serves as a comparison. */
  budget: Budget | null
  /** Further information, in lines. */
  details: readonly string[]
}

/** The median, least and greatest value of the rounds. */
export type Figure = { middle: number; least: number; greatest: number }
