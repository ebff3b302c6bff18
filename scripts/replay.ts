/**
 * Checks whether two source trees, or a tree and its binary, give the same answers to a script of requests
 * (`replay/requests.ts`), on real servers.
 *
 *     bun scripts/replay.ts record --program DIR|BINARY --to FILE.json [--database SCRIPT=URL]…
 *     bun scripts/replay.ts compare A.json B.json [--ignore-descriptions]
 *
 * Each script has a server of its own, on a new embedded database, or on the database without rows that `--database` names for
 * it. `record` keeps the status, the error code, the header names and Retry-After of every answer, and the
 * OpenAPI document. It fails if an operation of the document has no successful answer. `compare` prints every
 * difference, and fails if there is one. `--ignore-descriptions` leaves out the document's descriptions and
 * summaries.
 */
import { parseArgs } from 'node:util'
import { TOTP } from 'otpauth'
import { differences, withoutDescriptions } from './replay/differences.ts'
import { type Case, type Options, type Script, scripts } from './replay/requests.ts'
import { type Answer, type Request, send } from './replay/send.ts'
import { type Server, startServer } from './replay/server.ts'

const USAGE = `Usage: bun scripts/replay.ts record --program DIR|BINARY --to FILE.json [--database SCRIPT=URL]…
       bun scripts/replay.ts compare A.json B.json [--ignore-descriptions]
`

/** The recorded part of an answer. */
type Outcome = { status: number; code: string | null; headers: string; retry_after?: number; times?: number }

type Document = { paths: Record<string, Record<string, unknown>> }
type Recording = { requests: Record<string, Outcome>; document: Document }

/** Values from answers, by the name under which a case keeps them. */
type Values = Map<string, string>

async function record(program: string, file: string, databases: readonly string[]): Promise<number> {
  const urls = new Map(databases.map((text) => text.split(/=(.*)/, 2) as [script: string, url: string]))
  const requests: Recording['requests'] = {}
  let document: Document | null = null
  for (const script of scripts) {
    await using server = await startServer(program, script.settings, urls.get(script.name))
    await play(server, script, requests)
    document ??= (await (await fetch(`${server.url}/openapi.json`)).json()) as Document
  }
  if (!document) throw new Error('There is no script')
  await Bun.write(file, `${JSON.stringify({ requests, document }, null, 2)}\n`)
  const missing = unansweredOperations({ requests, document })
  for (const operation of missing) print(`No case has a good answer of ${operation}`)
  print(`${Object.keys(requests).length} outcomes are in ${file}`)
  return missing.length === 0 ? 0 : 1
}

/** Sends the cases of a script in order, and adds their outcomes to `requests`. */
async function play(server: Server, script: Script, requests: Recording['requests']): Promise<void> {
  const values: Values = new Map()
  for (const each of script.cases) {
    const [name, route, options = {}] = each
    const request = fillIn(route, options, values)
    const url = options.onMetricsPort ? server.metricsUrl : server.url
    const answers = await Promise.all(Array.from({ length: options.times ?? 1 }, () => send(url, request)))
    for (const [key, outcome] of outcomesOf(answers, options)) {
      const fullName = [`${script.name}: ${route}`, name, key].filter(Boolean).join(', ')
      if (requests[fullName]) throw new Error(`Two cases have the name "${fullName}"`)
      requests[fullName] = outcome
    }
    keep(each, answers[0], values)
  }
}

/** The outcome of a case by its key. Requests that were sent at once have one outcome for each status. */
function outcomesOf(answers: readonly Answer[], options: Options): [key: string, outcome: Outcome][] {
  const [first] = answers
  if (first && answers.length === 1) return [['', outcomeOf(first, options)]]
  return [...Map.groupBy(answers, ({ status }) => status)]
    .sort(([a], [b]) => a - b)
    .flatMap(([status, [one, ...others]]) =>
      one ? [[`${status}`, { ...outcomeOf(one, options), times: others.length + 1 }]] : [],
    )
}

function outcomeOf({ status, headers, text }: Answer, { untilMidnight }: Options): Outcome {
  const isJson = headers.get('content-type')?.includes('json') ?? false
  const body = isJson && text !== '' ? JSON.parse(text) : null
  const retryAfter = headers.get('retry-after')
  return {
    status,
    code: status < 400 ? null : (body?.code ?? body?.error ?? null),
    headers: [...new Set(headers.keys())].sort().join(', '),
    ...(retryAfter && { retry_after: Number(retryAfter) - (untilMidnight ? secondsToMidnight() : 0) }),
  }
}

const DAY_SECONDS = 86_400
const secondsToMidnight = () => DAY_SECONDS - (Math.floor(Date.now() / 1000) % DAY_SECONDS)

function fillIn(route: string, options: Options, values: Values): Request {
  const { authenticator } = options
  const fill = (text: string) =>
    text.replace(/\$(\w+)/g, (_, name: string) =>
      name === 'code' && authenticator
        ? new TOTP({ secret: requireValue(values, authenticator, route) }).generate()
        : requireValue(values, name, route),
    )
  const [method = '', target = ''] = route.split(' ')
  const { as, key, client, json, form, from, lines, cookie } = options
  const text = json === undefined ? options.text : JSON.stringify(json)
  // `$name` in a form is replaced later, which works only if the dollar sign is not encoded.
  const body = form ? String(new URLSearchParams(form)).replaceAll('%24', '$') : text
  const type = form ? 'application/x-www-form-urlencoded' : 'application/json'
  const headers = {
    ...(body !== undefined && { 'content-type': type }),
    ...(as && { authorization: `Bearer $${as}` }),
    ...(client && { authorization: `Basic ${btoa(fill(client))}` }),
    ...(key && { 'x-api-key': `$${key}` }),
    ...(from && { 'x-forwarded-for': from }),
    ...(cookie && { cookie: `$${cookie}`, 'sec-fetch-site': 'same-origin' }),
    ...options.headers,
  }
  return {
    method,
    target: fill(target),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, fill(value)])),
    body: body === undefined ? null : fill(body),
    lines: lines?.map(fill) ?? null,
  }
}

function requireValue(values: Values, name: string, route: string): string {
  const value = values.get(name)
  if (value === undefined) throw new Error(`${route}: no case before it keeps $${name}`)
  return value
}

/** Keeps members of the answer's body, parameters of its address, and its cookie, for later cases. */
function keep([name, route, options]: Case, answer: Answer | undefined, values: Values): void {
  if (options?.keepCookie) {
    const [pair = ''] = answer?.headers.get('set-cookie')?.split(';') ?? []
    if (pair === '')
      throw new Error(`${route}, ${name}: no cookie in the answer ${answer?.status} ${answer?.text}`)
    values.set(options.keepCookie, pair)
  }
  for (const [key, parameter] of Object.entries(options?.keepFromLocation ?? {})) {
    const location = answer?.headers.get('location') ?? ''
    const found = new URLSearchParams(location.split('?')[1]).get(parameter)
    if (found === null)
      throw new Error(`${route}, ${name}: no ${parameter} in the answer ${answer?.status} ${answer?.text}`)
    values.set(key, found)
  }
  for (const [key, path] of Object.entries(options?.keep ?? {})) {
    const body: unknown = answer?.text ? JSON.parse(answer.text) : null
    const [members = '', isFragment] = path.split('#')
    const whole = members.split('.').reduce((value: unknown, member) => Object(value)[member], body)
    const found = isFragment === undefined ? whole : String(whole).split('#')[1]
    if (typeof found !== 'string')
      throw new Error(`${route}, ${name}: no ${path} in the answer ${answer?.status} ${answer?.text}`)
    values.set(key, found)
  }
}

/** The operations whose request holds what only an authenticator or a mail has. `tests/api/` has their good answers. */
const BEYOND_SCRIPTS = new Set([
  'POST /auth/passkeys',
  'PATCH /auth/passkeys/{id}',
  'DELETE /auth/passkeys/{id}',
  'POST /auth/passkeys/login',
  'POST /auth/reauthenticate/options',
  'POST /auth/verify-email',
  'POST /session/passkey',
])

/** The other operations of the document for which no case has a successful answer. */
function unansweredOperations({ requests, document }: Recording): string[] {
  const good = Object.entries(requests).filter(([, { status }]) => status >= 200 && status < 300)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  return operations.filter((operation) => {
    if (BEYOND_SCRIPTS.has(operation)) return false
    const [before = '', ...others] = operation.split(/\{\w+\}/).map(RegExp.escape)
    const asked = new RegExp(`: ${[before, ...others].join('\\$\\w+')}[?,]`)
    return !good.some(([name]) => asked.test(name))
  })
}

async function compare(before: string, after: string, ignoresDescriptions: boolean): Promise<number> {
  const read = async (file: string) => {
    const recording = await Bun.file(file).json()
    return ignoresDescriptions
      ? { ...recording, document: withoutDescriptions(recording.document) }
      : recording
  }
  const found = differences(await read(before), await read(after))
  for (const line of found) print(line)
  print(found.length === 0 ? 'No difference' : `Differences: ${found.length}`)
  return found.length === 0 ? 0 : 1
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    program: { type: 'string' },
    to: { type: 'string' },
    database: { type: 'string', multiple: true, default: [] },
    'ignore-descriptions': { type: 'boolean', default: false },
  },
})
const [command, before, after] = positionals
if (command === 'record' && values.program && values.to)
  process.exitCode = await record(values.program, values.to, values.database)
else if (command === 'compare' && before && after)
  process.exitCode = await compare(before, after, values['ignore-descriptions'])
else {
  process.stderr.write(USAGE)
  process.exitCode = 2
}
