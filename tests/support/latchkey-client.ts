import {
  type ClientOptions,
  createClient,
  type Principal,
  type Question,
  type Refusal,
} from '../../client/index.ts'
import type { Answer } from './client.ts'
import { newKey } from './client.ts'
import { adminToken } from './oauth.ts'
import type { TestService } from './service.ts'

/** Creates the key with which a protected service asks Latchkey. */
export async function verifierKey(service: TestService): Promise<string> {
  const scopes = ['latchkey:verify', 'latchkey:introspect']
  return (await newKey(service, await adminToken(service), { scopes })).key
}

/** The argument of `Headers`. */
export type Pairs = Record<string, string> | [string, string][]

/** A client that keeps its errors, and authenticates requests with given headers. */
export function clientOf(options: ClientOptions) {
  const errors: unknown[] = []
  const client = createClient({ onError: (error) => errors.push(error), ...options })
  const ask = (headers: Pairs, question: Question = {}): Promise<Principal | Refusal> =>
    client.authenticate({ headers: new Headers(headers) }, question)
  return {
    client,
    errors,
    ask,
    bearer: (token: string, question?: Question) => ask({ authorization: `Bearer ${token}` }, question),
  }
}

/** The status that the caller would get: 200 for a principal. */
export const statusOf = (verdict: Principal | Refusal) => (verdict.kind === 'refused' ? verdict.status : 200)

/** A refusal as the client's answer, to compare with Latchkey's own answer. */
export function describeVerdict(verdict: Principal | Refusal) {
  if (verdict.kind !== 'refused') return { status: 200 }
  return { status: verdict.status, headers: verdict.headers, body: JSON.parse(verdict.body) }
}

/** An answer of Latchkey in the same form. */
export function describeAnswer({ status, headers, body }: Answer) {
  if (status === 200) return { status }
  const names = ['content-type', 'cache-control', 'www-authenticate', 'retry-after']
  const { request_id: _, ...problem } = body
  const kept = names.flatMap((name) => (headers.has(name) ? [[name, headers.get(name)]] : []))
  return { status, headers: Object.fromEntries(kept), body: problem }
}

/** A server between a client and Latchkey. It counts requests and may answer them itself. */
export function startFront(service: Pick<TestService, 'url'>, port = 0) {
  const front = {
    url: '',
    questions: [] as string[],
    /** Makes the answer instead of Latchkey. null: the request is passed on. */
    instead: null as ((request: Request) => Response | Promise<Response>) | null,
    stop: () => server.stop(true),
    [Symbol.asyncDispose]: () => server.stop(true),
  }
  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    async fetch(request) {
      const { pathname } = new URL(request.url)
      front.questions.push(pathname)
      if (front.instead) return front.instead(request)
      const { method, headers } = request
      return fetch(service.url + pathname, {
        method,
        headers,
        body: method === 'POST' ? await request.text() : null,
        // A body that is compressed goes on as it is.
        decompress: false,
      })
    },
  })
  front.url = `http://127.0.0.1:${server.port}`
  return front
}
