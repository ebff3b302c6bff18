/** One benchmark. */
export type Entry = {
  /** As it is asked for on the command line. */
  name: string
  /** What is compared with what. */
  title: string
  /** The ratio that it has to reach, and the one that it should. */
  budget: number
  goal: number
  run(options: RunOptions): Promise<Comparison>
}

export type RunOptions = {
  /** How often each side is measured; they take turns. */
  rounds: number
  /** How long each measurement lasts. */
  seconds: number
}

/** What came out: each a median over the rounds. */
export type Comparison = {
  subject: Side
  yardstick: Side
  /** subject / yardstick, the median of the rounds' own ratios: by requests a second, and by requests a second of processor time. */
  byTime: number
  byProcessor: number | null
  /** The least and the greatest of the ratios that the headline is the median of. */
  spread: [least: number, greatest: number]
}

export type Side = { perSecond: number; perProcessorSecond: number | null; megabytes: number | null }

/** The figure that counts: by processor time, which neither a neighbour nor a slow generator distorts, where there is one. */
export const ratioOf = ({ byProcessor, byTime }: Comparison): number => byProcessor ?? byTime
