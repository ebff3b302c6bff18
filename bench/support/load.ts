import { fileURLToPath } from 'node:url'
import { LOAD_CORE, onCore } from './process.ts'

/** One request, sent again and again. */
export type LoadRequest = { path: string; headers: Record<string, string> }

/** What came of it. `requests` are those that were answered, in `seconds` of wall clock. */
export type LoadResult = { requests: number; seconds: number }

const CONNECTIONS = 64

/** wrk where the system has it, since one core of it keeps a bare server busy; autocannon otherwise. */
export const generator: 'wrk' | 'autocannon' = Bun.which('wrk') ? 'wrk' : 'autocannon'

/**
 * Sends one request over and over, on 64 connections, from the generator's own core.
 * @throws Error where not every answer was a 2xx: figures of refusals are none
 */
export async function putLoad(url: string, request: LoadRequest, seconds: number): Promise<LoadResult> {
  return generator === 'wrk' ? runWrk(url, request, seconds) : runAutocannon(url, request, seconds)
}

async function runWrk(url: string, { path, headers }: LoadRequest, seconds: number): Promise<LoadResult> {
  const named = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const report = await run('wrk', '-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, ...named, url + path)
  const [, requests, took] = /(\d+) requests in ([\d.]+)s/.exec(report) ?? []
  if (requests === undefined || took === undefined || /Non-2xx|Socket errors/.test(report)) {
    throw new Error(`The load failed:\n${report}`)
  }
  return { requests: Number(requests), seconds: Number(took) }
}

async function runAutocannon(
  url: string,
  { path, headers }: LoadRequest,
  seconds: number,
): Promise<LoadResult> {
  const program = fileURLToPath(import.meta.resolve('autocannon'))
  const named = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const shape = ['-j', '-c', String(CONNECTIONS), '-d', String(seconds)]
  const report = await run(process.execPath, program, ...shape, ...named, url + path)
  const { '2xx': requests, non2xx, errors, timeouts, duration } = JSON.parse(report)
  if (requests === 0 || non2xx + errors + timeouts > 0) throw new Error(`The load failed:\n${report}`)
  return { requests, seconds: duration }
}

async function run(...command: string[]): Promise<string> {
  const child = Bun.spawn(onCore(LOAD_CORE, command), { stdio: ['ignore', 'pipe', 'ignore'] })
  const report = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(`"${command[0]}" failed:\n${report}`)
  return report
}
