import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { call } from '../../tests/support/client.ts'
import { LOAD_CORE, onCore, type ServerProcess } from './process.ts'
import { temporaryFile } from './temporary-file.ts'

/** A request that is sent repeatedly. */
export type LoadRequest = {
  path: string
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  json?: unknown
  form?: Record<string, string>
  /** A text that the answer contains. `askEach` checks it; the load generator does not. */
  expected?: string
}

/** How requests are sent. */
export type LoadShape = {
  connections?: number
  /**
   * How long each connection waits before a request, on average. 0: the server receives as much as it can
   * take.
   */
  pauseMs?: number
  /** Each request is sent once. Later requests carry the refresh tokens of the answers. */
  isChain?: boolean
  /** Answers other than 2xx are counted. Without this they are an error. */
  mayRefuse?: boolean
}

/**
 * The result: `requests` were answered in `seconds` of wall clock, and `refused` of them had a status other
 * than 2xx.
 */
export type LoadResult = {
  requests: number
  refused: number
  seconds: number
  p50Ms: number
  p99Ms: number
}

const CONNECTIONS = 64
const SCRIPT = join(import.meta.dir, 'load.lua')
/** wrk ends by itself. This bounds the wait if it does not. */
const GRACE_MS = 30_000
/** The number of requests of `askEach` that wait for an answer at the same time. */
const ASKED_AT_ONCE = 32

/**
 * Sends each request once.
 * @returns the texts of the answers
 * @throws Error if an answer is not the expected one
 */
export function askEach(
  { url }: Pick<ServerProcess, 'url'>,
  requests: readonly LoadRequest[],
): Promise<string[]> {
  return pLimit(ASKED_AT_ONCE).map(requests, async ({ path, method = 'GET', expected = '', ...rest }) => {
    const { status, text } = await call({ url }, `${method} ${path}`, rest)
    if (status !== 200 || !text.includes(expected)) throw new Error(`${path} answered ${status}: ${text}`)
    return text
  })
}

/**
 * Puts load on a server from the generator's own core (docs/decisions/0020). Each request is chosen at random
 * from `requests`. One request is sent in the same way as 10,000, so the generator's cost is equal.
 * @throws Error if an answer was not 2xx, unless `mayRefuse`: figures of refusals mean nothing
 */
export async function putLoad(
  url: string,
  requests: readonly LoadRequest[],
  seconds: number,
  { connections = CONNECTIONS, pauseMs = 0, isChain = false, mayRefuse = false }: LoadShape = {},
): Promise<LoadResult> {
  using file = temporaryFile()
  const { host } = new URL(url)
  writeFileSync(file.path, requests.map((request) => formatRequest(request, host)).join('\0'))
  const settings = [
    `requests=${file.path}`,
    ...(isChain ? ['chain=true'] : []),
    ...(pauseMs > 0 ? [`pause_ms=${pauseMs}`] : []),
  ]
  const shape = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', SCRIPT]
  const child = Bun.spawn(onCore(LOAD_CORE, ['wrk', ...shape, url, '--', ...settings]), {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: seconds * 1000 + GRACE_MS,
  })
  const [report, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()])
  const result = /^RESULT (.*)$/m.exec(report)?.[1]
  const path = requests[0]?.path
  if ((await child.exited) !== 0 || result === undefined) {
    throw new Error(`wrk failed on ${path}:\n${report}${complaint}`)
  }
  const { broken, ...figures }: LoadResult & { broken: number } = JSON.parse(result)
  const isRefused = figures.refused > 0 && !mayRefuse
  if (figures.requests === figures.refused || isRefused || broken > 0)
    throw new Error(`The load on ${path} failed:\n${report}`)
  return figures
}

/** A request in the form in which it is sent. */
function formatRequest(
  { path, method = 'GET', headers = {}, json, form }: LoadRequest,
  host: string,
): string {
  const body = form ? new URLSearchParams(form).toString() : json === undefined ? '' : JSON.stringify(json)
  const type = form ? 'application/x-www-form-urlencoded' : 'application/json'
  const lines = Object.entries({
    Host: host,
    ...headers,
    ...(body !== '' && { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }),
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}
