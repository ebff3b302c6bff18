import type { Budget } from './budget.ts'
import type { Figure, Finding, RunOptions } from './entry.ts'
import { figureOf, median } from './figures.ts'
import { cacheReads, hitRatio, type Latchkey } from './latchkey.ts'
import { askEach, type LoadRequest, type LoadShape, putLoad } from './load.ts'
import { databaseCpuSeconds } from './postgres.ts'
import type { ServerProcess } from './process.ts'

/** Something that can be measured for a while. */
export type Contender = {
  measure(seconds: number): Promise<Sample>
  residentMegabytes?(): number | null
}

/**
 * The result of one measurement. Processor time is in seconds for each operation; null where the system does
 * not report it.
 */
export type Sample = {
  perSecond: number
  processorSeconds: number | null
  /** PostgreSQL's processor time, for all of its clients. */
  databaseSeconds: number | null
}

/** How long each contender runs before a measurement counts, in seconds, so that its hot code is compiled. */
const WARM_UP_SECONDS = 3

/**
 * How long a server is asked about many credentials before each measurement, in seconds. Cache entries last a
 * minute and expire while the other contenders are measured. Under a steady load they would be in the cache.
 */
const REFILL_SECONDS = 1

/** The approximate duration of `takeTurns`, in seconds. */
export const turnsSeconds = ({ rounds, seconds }: RunOptions, contenders = 2): number =>
  contenders * (rounds * (seconds + 0.2) + WARM_UP_SECONDS + 2)

/**
 * Measures several contenders in turns. Each round starts with another contender, so that other load on the
 * machine affects all of them equally.
 * @returns the samples of each contender, in the order of the rounds
 */
export async function takeTurns<Name extends string>(
  contenders: Record<Name, Contender>,
  { rounds, seconds }: RunOptions,
): Promise<Record<Name, Sample[]>> {
  const names = Object.keys(contenders) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, Sample[]>
  for (const name of names) await contenders[name].measure(Math.min(WARM_UP_SECONDS, rounds * seconds))
  for (let round = 0; round < rounds; round++) {
    const first = round % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      samples[name].push(await contenders[name].measure(seconds))
    }
  }
  return samples
}

/** A contender that is a server under load. */
export function underLoad(
  server: ServerProcess,
  requests: readonly LoadRequest[],
  shape: LoadShape = {},
): Contender {
  return {
    measure: async (seconds) => {
      if (requests.length > 1 && !shape.isChain) await putLoad(server.url, requests, REFILL_SECONDS, shape)
      const sample = await weigh(server, () => putLoad(server.url, requests, seconds, shape))
      server.forgetOutput()
      return sample
    },
    residentMegabytes: server.residentMegabytes,
  }
}

/** The cost of `work` for that server and PostgreSQL, for each request. */
export async function weigh(
  server: Pick<ServerProcess, 'cpuSeconds'>,
  work: () => Promise<{ requests: number; seconds: number }>,
): Promise<Sample> {
  const [before, databaseBefore] = [server.cpuSeconds(), await databaseCpuSeconds()]
  const { requests, seconds } = await work()
  const [after, databaseAfter] = [server.cpuSeconds(), await databaseCpuSeconds()]
  return {
    perSecond: requests / seconds,
    processorSeconds: before === null || after === null ? null : (after - before) / requests,
    databaseSeconds:
      databaseBefore === null || databaseAfter === null ? null : (databaseAfter - databaseBefore) / requests,
  }
}

/**
 * The subject's pace as a share of the yardstick's pace, round by round. null where the system does not
 * report processor time.
 */
export function paceOf(subject: readonly Sample[], yardstick: readonly Sample[]) {
  const ratio = (costOf: (sample: Sample) => number | null): Figure | null => {
    const rounds = subject.flatMap((own, round) => {
      const other = yardstick[round]
      const [cost, yardstickCost] = [costOf(own), other === undefined ? null : costOf(other)]
      return cost === null || yardstickCost === null ? [] : [yardstickCost / cost]
    })
    return rounds.length === 0 ? null : figureOf(rounds)
  }
  return {
    byTime: ratio(({ perSecond }) => 1 / perSecond),
    byProcessor: ratio(({ processorSeconds }) => processorSeconds),
    withDatabase: ratio(allSeconds),
  }
}

/** The processor time of one operation including PostgreSQL's. null where the system does not report it. */
export function allSeconds({ processorSeconds, databaseSeconds }: Sample): number | null {
  return processorSeconds === null || databaseSeconds === null ? null : processorSeconds + databaseSeconds
}

/**
 * The row of a comparison. Where the system reports processor time, the figure counts that of the two
 * processes alone: neither other programs nor a slow load generator distort it.
 */
export function comparison(
  what: string,
  subject: readonly Sample[],
  yardstick: readonly Sample[],
  { budgetOf = () => null, details }: { budgetOf?: (ratio: number) => Budget | null; details: string[] },
): Finding {
  const { byTime, byProcessor, withDatabase } = paceOf(subject, yardstick)
  const figure = byProcessor ?? byTime
  if (figure === null || byTime === null) throw new Error(`Nothing was measured of ${what}`)
  return {
    what,
    unit: 'ratio',
    figure,
    ...(byProcessor && { byTime }),
    ...(withDatabase && { withDatabase }),
    budget: budgetOf(figure.middle),
    details,
  }
}

/** The approximate duration of `compareServers` in seconds, including the start of both servers. */
export const comparisonSeconds = (options: RunOptions): number =>
  turnsSeconds(options) + turnsSeconds(withRefill(options)) + 12

/** The same rounds, with the time that each takes where there are many credentials. */
export const withRefill = (options: RunOptions): RunOptions => ({
  ...options,
  seconds: options.seconds + REFILL_SECONDS,
})

/**
 * Compares Latchkey with a yardstick that receives the same requests from the same load generator. The first
 * row, which has the budget, uses all of `requests`, each with another credential. The second row uses only
 * the first request.
 */
export async function compareServers(
  what: string,
  { latchkey, yardstick }: { latchkey: Latchkey; yardstick: ServerProcess },
  requests: readonly LoadRequest[],
  budgetOf: (ratio: number) => Budget,
  options: RunOptions,
): Promise<Finding[]> {
  const compare = async (asked: readonly LoadRequest[]) => {
    const contenders = { latchkey: underLoad(latchkey, asked), yardstick: underLoad(yardstick, asked) }
    const readsBefore = await cacheReads(latchkey)
    const samples = await takeTurns(contenders, options)
    const hits = hitRatio(await cacheReads(latchkey), readsBefore)
    const isMany = asked.length > 1
    return comparison(
      `${what}; ${isMany ? `${asked.length} credentials` : 'one credential'}`,
      samples.latchkey,
      samples.yardstick,
      {
        ...(isMany && { budgetOf }),
        details: [
          describeSamples('Latchkey', samples.latchkey, contenders.latchkey),
          describeSamples('the yardstick', samples.yardstick, contenders.yardstick),
          `found in the cache: ${(100 * hits).toFixed(1)} %`,
        ],
      },
    )
  }
  // One credential is measured first, because afterwards the cache is full.
  const one = await compare(requests.slice(0, 1))
  await askEach(latchkey, requests)
  return [await compare(requests), one]
}

/**
 * Describes a measurement in one line: `name  1000 requests/s, 12.3 µs of processor time each, 100 MB
 * resident`.
 */
export function describeSamples(name: string, samples: readonly Sample[], contender?: Contender): string {
  const microseconds = (values: readonly (number | null)[]) => {
    const known = values.filter((value) => value !== null)
    return known.length === 0 ? null : `${(median(known) * 1e6).toFixed(1)} µs`
  }
  const own = microseconds(samples.map(({ processorSeconds }) => processorSeconds))
  const database = microseconds(samples.map(({ databaseSeconds }) => databaseSeconds))
  const megabytes = contender?.residentMegabytes?.() ?? null
  return [
    `${name}: ${Math.round(median(samples.map(({ perSecond }) => perSecond)))} a second`,
    own && `${own} of processor time each`,
    own && database && database !== '0.0 µs' && `and ${database} of PostgreSQL's`,
    megabytes && `${megabytes.toFixed(0)} MB resident`,
  ]
    .filter(Boolean)
    .join(', ')
}
