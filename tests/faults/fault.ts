import { Glob } from 'bun'
import type { Findings } from './findings.ts'

/** The findings of a fault. `writes`: how many writes were acknowledged; each of them was checked. */
export type Outcome = Findings & { writes: number }

/** A fault that is tried while clients use the service. */
export type Fault = {
  name: string
  /** The approximate duration of one round, in seconds. */
  roundSeconds: number
  /** Whether some requests are expected to be refused or to stay unanswered. */
  isFelt: boolean
  /** Whether it takes minutes: only `bun run test:faults` runs it. */
  isLong?: boolean
  /** Whether it keeps the processor so busy that no other fault can be tried beside it. */
  isBusy?: boolean
  /** What the machine lacks for this fault. null or absent: nothing. */
  lacks?: string | null
  run(rounds: number): Promise<Outcome>
}

/** The faults of every `*.fault.ts` beside this file, by name. */
export async function allFaults(): Promise<Fault[]> {
  const paths = [...new Glob('*.fault.ts').scanSync(import.meta.dir)].sort()
  const modules: { fault?: Fault; faults?: Fault[] }[] = await Promise.all(
    paths.map((path) => import(`./${path}`)),
  )
  return modules.flatMap(({ fault, faults = [] }) => (fault ? [fault] : faults))
}

/** Does something so many times, one after the other. */
export async function repeat(rounds: number, work: () => Promise<void>): Promise<void> {
  for (let round = 0; round < rounds; round++) await work()
}
