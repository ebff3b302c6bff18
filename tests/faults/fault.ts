import { Glob } from 'bun'
import type { Findings } from './findings.ts'

/** What a fault brought to light; `writes`: how many were acknowledged, each of which was asked after. */
export type Outcome = Findings & { writes: number }

/** A fault that is tried while people use the service. */
export type Fault = {
  name: string
  /** How long one round lasts, about. */
  roundSeconds: number
  /** Whether anybody is refused, or left without an answer. */
  isFelt: boolean
  /** What this machine lacks for it; null or absent: nothing. */
  lacks?: string | null
  run(rounds: number): Promise<Outcome>
}

/** Every `*.fault.ts` beside this file, by name. */
export async function allFaults(): Promise<Fault[]> {
  const paths = [...new Glob('*.fault.ts').scanSync(import.meta.dir)].sort()
  const modules: { fault: Fault }[] = await Promise.all(paths.map((path) => import(`./${path}`)))
  return modules.map(({ fault }) => fault)
}

/** Does something so many times, one after the other. */
export async function repeat(rounds: number, work: () => Promise<void>): Promise<void> {
  for (let round = 0; round < rounds; round++) await work()
}
