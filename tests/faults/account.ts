import { type KeepAliveClient, keepAliveClient, type Reply } from '../support/http-socket.ts'
import { until } from '../support/until.ts'
import { type Bed, signUp } from './bed.ts'
import type { Checker } from './findings.ts'

/**
 * A credential and what its holder was told about it. `unsure`: its end was requested, and no answer came.
 */
type HeldCredential = {
  kind: 'key' | 'token'
  secret: string
  state: 'live' | 'unsure' | 'dead'
  end: { at: number; url: string } | null
}
/** A key with credits. `unsure` charges may or may not have been made. */
type Purse = { id: string; secret: string; taken: number; unsure: number }
type Session = { access: string; refresh: string; unansweredSince: number | null }

const CREDITS = 40
/** The default of REFRESH_GRACE_SECONDS. */
const GRACE_MS = 10_000
/**
 * How soon another server knows of a revocation, with the delay that a busy machine may add; first normally,
 * then while its listening connection may be cut.
 */
const ELSEWHERE_MS = 1000 + 500
const ELSEWHERE_CUT_MS = 5000 + 500
/** The maximum number of credentials that an account keeps, so that the last check stays short. */
const MAX_CREDENTIALS = 150

/** A person who uses the service without a pause, and remembers every acknowledged change. */
export type Account = {
  /** Sends one request. */
  step(): Promise<void>
  /** When the last request was sent that changed something and was acknowledged. */
  lastWriteAt(): number
  /** How many writes were acknowledged. */
  writes(): number
  /** Checks that everything that was acknowledged is still true. */
  audit(): Promise<void>
  close(): void
}

/**
 * Signs a new person up.
 * @param pick the server for a new connection
 */
export async function openAccount(bed: Bed, checker: Checker, pick: () => string): Promise<Account> {
  const email = `${Bun.randomUUIDv7()}@example.com`
  const password = await signUp(pick(), email)
  const client: KeepAliveClient = keepAliveClient(pick)
  const credentials: HeldCredential[] = []
  const idOf = new Map<string, string>()
  const purses: Purse[] = []
  let session: Session | null = null
  let writes = 0
  let lastWriteAt = 0

  const send = async (...[route, ask]: Parameters<KeepAliveClient['send']>): Promise<Reply> => {
    const reply = await client.send(route, ask)
    checker.hear(route.replace(/[0-9a-f-]{36}/, ':id'), reply)
    return reply
  }
  const acknowledged = ({ sentAt }: Reply) => {
    writes++
    lastWriteAt = sentAt
  }
  const some = <T>(list: readonly T[]): T | undefined => list[Math.floor(Math.random() * list.length)]
  const inState = (...states: HeldCredential['state'][]) =>
    credentials.filter(({ state }) => states.includes(state))

  const logIn = async (): Promise<void> => {
    const old = session
    const reply = await send('POST /auth/login', { json: { email, password } })
    if (reply.status === 200) {
      acknowledged(reply)
      const { access_token: access, refresh_token: refresh } = reply.body
      session = { access, refresh, unansweredSince: null }
      if (old) await logOut(old)
    } else unexpected('a login', reply)
  }
  const logOut = async (old: Session): Promise<void> => {
    const ended: HeldCredential = { kind: 'token', secret: old.access, state: 'live', end: null }
    credentials.push(ended)
    await end(ended, await send('POST /auth/logout', { json: { refresh_token: old.refresh } }), 204)
  }
  const end = async (credential: HeldCredential, reply: Reply, good: number) => {
    if (reply.status === good) {
      acknowledged(reply)
      credential.state = 'dead'
      credential.end = { at: performance.now(), url: reply.url }
    } else {
      unexpected('an ending', reply)
      credential.state = 'unsure'
    }
  }
  /** Records a reply that is neither the expected answer nor a refusal that the checker already counts. */
  const unexpected = (what: string, reply: Reply): void => {
    if (reply.status !== 503 && reply.failure === null)
      checker.violate(`${what} was answered ${reply.status} ${reply.body?.code ?? ''}`)
  }

  const createKey = async ({ access }: Session) => {
    const reply = await send('POST /keys/create', { bearer: access, json: { scopes: ['read'] } })
    if (reply.status !== 201) return unexpected('a new key', reply)
    acknowledged(reply)
    credentials.push({ kind: 'key', secret: reply.body.key, state: 'live', end: null })
    idOf.set(reply.body.key, reply.body.id)
  }
  const createPurse = async ({ access }: Session) => {
    const json = { credits: { remaining: CREDITS } }
    const reply = await send('POST /keys/create', { bearer: access, json })
    if (reply.status !== 201) return unexpected('a new key with credits', reply)
    acknowledged(reply)
    purses.push({ id: reply.body.id, secret: reply.body.key, taken: 0, unsure: 0 })
  }
  const charge = async (current: Session) => {
    const purse = purses.at(-1)
    if (!purse || purse.taken + purse.unsure >= CREDITS) return createPurse(current)
    const reply = await send('POST /keys/verify', { apiKey: bed.verifier, json: { key: purse.secret } })
    if (reply.body?.valid === true) {
      acknowledged(reply)
      purse.taken++
    } else if (reply.status === 503 || reply.failure) purse.unsure++
    else checker.violate(`a charge was answered ${reply.status} ${reply.body?.code}`)
  }
  const revoke = async ({ access }: Session) => {
    const key = some(inState('live').filter(({ kind }) => kind === 'key'))
    if (!key) return
    await end(key, await send(`DELETE /keys/revoke/${idOf.get(key.secret)}`, { bearer: access }), 200)
  }
  const refresh = async (current: Session) => {
    const reply = await send('POST /auth/refresh', { json: { refresh_token: current.refresh } })
    if (reply.status === 200) {
      acknowledged(reply)
      const { access_token: access, refresh_token: next } = reply.body
      session = { access, refresh: next, unansweredSince: null }
    } else if (reply.status === 401 && isLate(current)) {
      // A token that is presented after the grace period counts as stolen, so the session ends.
      session = null
    } else {
      unexpected('a refresh', reply)
      current.unansweredSince ??= reply.sentAt
    }
  }
  const isLate = ({ unansweredSince }: Session) =>
    unansweredSince !== null && performance.now() - unansweredSince > GRACE_MS

  /** Presents a credential at an endpoint, or has the verifier ask about it. */
  const use = async (credential: HeldCredential | undefined, endpoint: 'own' | 'verify') => {
    if (!credential) return
    const { kind, secret, state, end: ended } = credential
    const reply =
      endpoint === 'own'
        ? await send('GET /auth/me', kind === 'key' ? { apiKey: secret } : { bearer: secret })
        : await send('POST /keys/verify', { apiKey: bed.verifier, json: { key: secret, cost: 0 } })
    const isIn = endpoint === 'own' ? reply.status === 200 : reply.body?.valid === true
    const isOut = endpoint === 'own' ? reply.status === 401 : reply.body?.valid === false
    if (!isIn && !isOut) unexpected(`a ${kind}`, reply)
    else if (isOut && state === 'live') checker.violate(`an acknowledged ${kind} is refused`)
    else if (isOut && state === 'unsure') {
      credential.state = 'dead'
      credential.end = { at: performance.now(), url: reply.url }
    } else if (isIn && state === 'dead' && ended) {
      const pastMs = reply.sentAt - ended.at
      const elsewhereMs = checker.isTroubled(reply) ? ELSEWHERE_CUT_MS : ELSEWHERE_MS
      if (pastMs > (reply.url === ended.url ? 0 : elsewhereMs))
        checker.violate(`a revoked ${kind} is let in after ${Math.round(pastMs)} ms`)
    }
  }
  const endpoint = (kind: HeldCredential['kind']) =>
    kind === 'key' && Math.random() < 0.5 ? 'verify' : 'own'
  const useSome = async (...states: HeldCredential['state'][]) => {
    const one = some(inState(...states))
    if (one) await use(one, endpoint(one.kind))
  }

  const step = async () => {
    const current = session
    if (!current) return logIn()
    const chance = Math.random()
    const mayAdd = credentials.length < MAX_CREDENTIALS
    if (chance < 0.12 && mayAdd) await createKey(current)
    else if (chance < 0.2) await revoke(current)
    else if (chance < 0.35) await refresh(current)
    else if (chance < 0.5) await charge(current)
    else if (chance < 0.505 && mayAdd) await logIn()
    else if (chance < 0.7) await useSome('dead', 'unsure')
    else await useSome('live')
  }

  const audit = async () => {
    for (const credential of credentials) {
      await use(credential, 'own')
      if (credential.kind === 'key') await use(credential, 'verify')
    }
    if (session) await refresh(session)
    // The unanswered refresh may have happened longer ago than the grace period.
    if (!session) await logIn()
    const bearer = (session as Session | null)?.access ?? ''
    for (const { id, taken, unsure } of purses) {
      let gone = Number.NaN
      const isRead = async () => {
        const { status, body } = await send(`GET /keys/${id}`, { bearer })
        if (status === 200) gone = CREDITS - body.credits.remaining
        return status === 200
      }
      await until(isRead, 'the credits that are left')
      if (!(gone >= taken && gone <= taken + unsure && gone <= CREDITS))
        checker.violate(`${gone} credits are gone where ${taken} to ${taken + unsure} were taken`)
    }
  }

  const isIn = async () => {
    await logIn()
    return session !== null
  }
  await until(isIn, 'the first login')
  return { step, audit, lastWriteAt: () => lastWriteAt, writes: () => writes, close: client.close }
}
