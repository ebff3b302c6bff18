import type { TestService } from './service.ts'

/** An answer with its whole body. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
export type Answer = { status: number; headers: Headers; body: any; text: string }

export type Call = {
  /** Sent as JSON. */
  json?: unknown
  /** Sent unchanged. */
  raw?: Bun.BodyInit
  /** Sent as a form. */
  form?: Record<string, string>
  bearer?: string
  apiKey?: string
  headers?: Record<string, string>
}

/**
 * Sends a request to a service.
 * @example await call(service, 'POST /auth/login', { json: … })
 */
export async function call(
  service: Pick<TestService, 'url'>,
  route: string,
  options: Call = {},
): Promise<Answer> {
  const [method = 'GET', path = '/'] = route.split(' ')
  const headers = new Headers(options.headers)
  let body: Bun.BodyInit | null = options.raw ?? null
  if (options.json !== undefined) {
    body = JSON.stringify(options.json)
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
  }
  if (options.form) {
    body = new URLSearchParams(options.form).toString()
    headers.set('content-type', 'application/x-www-form-urlencoded')
  }
  if (options.bearer !== undefined) headers.set('authorization', `Bearer ${options.bearer}`)
  if (options.apiKey !== undefined) headers.set('x-api-key', options.apiKey)
  const response = await fetch(service.url + path, { method, headers, body, redirect: 'manual' })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') ?? false
  return {
    status: response.status,
    headers: response.headers,
    body: isJson && text !== '' ? JSON.parse(text) : null,
    text,
  }
}

/** Asks again, as a client does, where a busy machine does not come to the request in time. */
export async function insist(ask: () => Promise<Answer>): Promise<Answer> {
  const answer = await ask()
  return answer.status === 503 ? insist(ask) : answer
}

let people = 0

/** A person with an account and one session. */
export type Person = { id: string; email: string; password: string; access: string; refresh: string }

/** Signs a person up and logs them in. */
export async function newPerson(
  service: Pick<TestService, 'url'>,
  password = 'correct-horse-battery',
): Promise<Person> {
  const email = `person-${++people}@example.com`
  const made = await call(service, 'POST /auth/signup', { json: { email, password } })
  if (made.status !== 201) throw new Error(`Sign-up answered ${made.status}: ${made.text}`)
  return { id: made.body.id, email, password, ...(await logIn(service, email, password)) }
}

/** Logs a person in. */
export async function logIn(
  service: Pick<TestService, 'url'>,
  email: string,
  password: string,
): Promise<{ access: string; refresh: string }> {
  const answer = await call(service, 'POST /auth/login', { json: { email, password } })
  if (answer.status !== 200) throw new Error(`Login answered ${answer.status}: ${answer.text}`)
  return { access: answer.body.access_token, refresh: answer.body.refresh_token }
}

/** Creates a key for a person. */
export async function newKey(
  service: Pick<TestService, 'url'>,
  bearer: string,
  json: Record<string, unknown> = {},
): Promise<{ id: string; key: string }> {
  const answer = await call(service, 'POST /keys/create', { bearer, json })
  if (answer.status !== 201) throw new Error(`Creating a key answered ${answer.status}: ${answer.text}`)
  return { id: answer.body.id, key: answer.body.key }
}
