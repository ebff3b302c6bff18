import { join } from 'node:path'
import { LOAD_CORE, onCore } from './process.ts'

/** One request, sent again and again. */
export type LoadRequest = {
  path: string
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  json?: unknown
  form?: Record<string, string>
}

/** How it is sent. */
export type LoadShape = {
  connections?: number
  /** How long each connection waits before a request, on average; 0: the server has all it can take. */
  pauseMs?: number
  /** A file of JSON bodies, one a line, that are sent in turns instead of the request's own. */
  bodies?: string
  /** Each body of that file is sent once; those that follow carry the refresh tokens of the answers. */
  isChain?: boolean
}

/** What came of it. `requests` are those that were answered, in `seconds` of wall clock. */
export type LoadResult = { requests: number; seconds: number; p50Ms: number; p99Ms: number }

const CONNECTIONS = 64
const SCRIPT = join(import.meta.dir, 'load.lua')
/** wrk ends by itself; this is for the day when it does not. */
const GRACE_MS = 30_000

/**
 * Puts load on a server from the generator's own core.
 * @throws Error where not every answer was a 2xx: figures of refusals are none
 */
export async function putLoad(
  url: string,
  { path, method = 'GET', headers = {}, json, form }: LoadRequest,
  seconds: number,
  { connections = CONNECTIONS, pauseMs = 0, bodies, isChain = false }: LoadShape = {},
): Promise<LoadResult> {
  const isJson = json !== undefined || bodies !== undefined
  const type = isJson ? 'application/json' : form ? 'application/x-www-form-urlencoded' : null
  const named = Object.entries({ ...headers, ...(type && { 'Content-Type': type }) })
  const body = form ? new URLSearchParams(form).toString() : JSON.stringify(json)
  const settings = [
    `method=${method}`,
    ...(body === undefined ? [] : [`body=${body}`]),
    ...(bodies === undefined ? [] : [`bodies=${bodies}`]),
    ...(isChain ? ['chain=true'] : []),
    ...(pauseMs > 0 ? [`pause_ms=${pauseMs}`] : []),
  ]
  const shape = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', SCRIPT]
  const command = ['wrk', ...shape, ...named.flatMap(([name, value]) => ['-H', `${name}: ${value}`])]
  const child = Bun.spawn(onCore(LOAD_CORE, [...command, url + path, '--', ...settings]), {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: seconds * 1000 + GRACE_MS,
  })
  const [report, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()])
  const result = /^RESULT (.*)$/m.exec(report)?.[1]
  if ((await child.exited) !== 0 || result === undefined) {
    throw new Error(`wrk failed on ${path}:\n${report}${complaint}`)
  }
  const { refused, broken, ...figures } = JSON.parse(result)
  if (figures.requests === 0 || refused + broken > 0)
    throw new Error(`The load on ${path} failed:\n${report}`)
  return figures
}
