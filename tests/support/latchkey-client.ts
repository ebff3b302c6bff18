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

/** The key that a service which protects its routes asks Latchkey with. */
export async function verifierKey(service: TestService): Promise<string> {
  const scopes = ['latchkey:verify', 'latchkey:introspect']
  return (await newKey(service, await adminToken(service), { scopes })).key
}

/** What `Headers` is made of. */
export type Pairs = Record<string, string> | [string, string][]

/** A client whose failures are kept, and which authenticates what would be in a request's headers. */
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

/** The status that somebody would get: 200 for a principal. */
export const statusOf = (verdict: Principal | Refusal) => (verdict.kind === 'refused' ? verdict.status : 200)

/** A refusal as it would arrive, to be held against Latchkey's own. */
export function describeVerdict(verdict: Principal | Refusal) {
  if (verdict.kind !== 'refused') return { status: 200 }
  return { status: verdict.status, headers: verdict.headers, body: JSON.parse(verdict.body) }
}

/** The same of an answer of Latchkey's. */
export function describeAnswer({ status, headers, body }: Answer) {
  if (status === 200) return { status }
  const names = ['content-type', 'cache-control', 'www-authenticate', 'retry-after']
  const { request_id: _, ...problem } = body
  const kept = names.flatMap((name) => (headers.has(name) ? [[name, headers.get(name)]] : []))
  return { status, headers: Object.fromEntries(kept), body: problem }
}

/** Something between a client and Latchkey: it counts the questions, and may answer them itself. */
export function startFront(service: Pick<TestService, 'url'>, port = 0) {
  const front = {
    url: '',
    questions: [] as string[],
    /** What to answer instead; null: pass it on. */
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
      })
    },
  })
  front.url = `http://127.0.0.1:${server.port}`
  return front
}
