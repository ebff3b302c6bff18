import type { Comparison, RunOptions, Side } from './entry.ts'
import { type LoadRequest, putLoad } from './load.ts'
import type { ServerProcess } from './process.ts'

/** A server and what it is asked. */
export type Contender = { server: ServerProcess; request: LoadRequest }

type Sample = { perSecond: number; perProcessorSecond: number | null }

/** How long each is asked before anything counts, in seconds: until its hot code is compiled, and the cache filled. */
const WARM_UP_SECONDS = 3

/**
 * Measures two servers in turns, each round the other one first, so that what else happens on the machine meets both
 * alike.
 */
export async function compare(
  subject: Contender,
  yardstick: Contender,
  { rounds, seconds }: RunOptions,
): Promise<Comparison> {
  for (const contender of [subject, yardstick]) await measure(contender, WARM_UP_SECONDS)
  const samples: { subject: Sample; yardstick: Sample }[] = []
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) {
      const first = await measure(subject, seconds)
      samples.push({ subject: first, yardstick: await measure(yardstick, seconds) })
    } else {
      const first = await measure(yardstick, seconds)
      samples.push({ subject: await measure(subject, seconds), yardstick: first })
    }
  }
  const byTime = samples.map((round) => round.subject.perSecond / round.yardstick.perSecond)
  const byProcessor = samples.flatMap(({ subject, yardstick }) =>
    subject.perProcessorSecond === null || yardstick.perProcessorSecond === null
      ? []
      : [subject.perProcessorSecond / yardstick.perProcessorSecond],
  )
  const counted = byProcessor.length > 0 ? byProcessor : byTime
  return {
    subject: summarise(
      samples.map((round) => round.subject),
      subject.server,
    ),
    yardstick: summarise(
      samples.map((round) => round.yardstick),
      yardstick.server,
    ),
    byTime: median(byTime),
    byProcessor: byProcessor.length > 0 ? median(byProcessor) : null,
    spread: [Math.min(...counted), Math.max(...counted)],
  }
}

async function measure({ server, request }: Contender, seconds: number): Promise<Sample> {
  const before = server.cpuSeconds()
  const result = await putLoad(server.url, request, seconds)
  const after = server.cpuSeconds()
  server.forgetOutput()
  return {
    perSecond: result.requests / result.seconds,
    perProcessorSecond: before === null || after === null ? null : result.requests / (after - before),
  }
}

function summarise(samples: readonly Sample[], server: ServerProcess): Side {
  const processor = samples.flatMap(({ perProcessorSecond }) => perProcessorSecond ?? [])
  return {
    perSecond: median(samples.map(({ perSecond }) => perSecond)),
    perProcessorSecond: processor.length > 0 ? median(processor) : null,
    megabytes: server.residentMegabytes(),
  }
}

/** The middle one, or the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const around = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1)
  return around.reduce((sum, value) => sum + value, 0) / around.length
}
