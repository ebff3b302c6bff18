import { afterEach, beforeAll, describe, expect, mock, spyOn, test } from 'bun:test'
import { createFairQueue } from '../../src/core/passwords/fair-queue.ts'
import type { PasswordCost } from '../../src/core/passwords/hasher.ts'
import { type Answer, call } from '../support/client.ts'
import {
  type AddedPerson,
  addLoggedIn,
  addPerson,
  hashPassword,
  PASSWORD,
  type Tokens,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { useService, useSql } from '../support/use-service.ts'

/** Enough that a flood fills the queue, and no more: it has to be waited for. */
const COST: PasswordCost = { memoryCost: 16_384, timeCost: 1 }

const service = useService({
  passwordHashConcurrency: 1,
  passwordCost: COST,
  trustedProxies: ['127.0.0.0/8'],
})
const sql = useSql(service)
afterEach(() => mock.restore())

const from = (address: string) => ({ 'x-forwarded-for': address })
const ATTACKER = from('198.51.100.1')
const SOMEBODY = from('203.0.113.5')
const logIn = (email: string, password: string, headers: Record<string, string>) =>
  call(service, 'POST /auth/login', { json: { email, password }, headers })
const change = (bearer: string, json: object, headers: Record<string, string>) =>
  call(service, 'POST /auth/password', {
    bearer,
    headers,
    json: { current_password: PASSWORD, new_password: 'a-quite-unheard-of-one', ...json },
  })
const times = <R>(count: number, work: (i: number) => R): R[] =>
  Array.from({ length: count }, (_, i) => work(i))

let addresses = 0
const freshEmail = () => `queued-${++addresses}@example.com`

/** Somebody else logs in, again and again, while something goes on. */
async function logInMeanwhile(email: string, others: Promise<Answer>[]): Promise<number[]> {
  const statuses: number[] = []
  for (let i = 0; i < 5; i++) statuses.push((await logIn(email, PASSWORD, SOMEBODY)).status)
  await Promise.all(others)
  return statuses
}
const ALL_IN = [200, 200, 200, 200, 200]

describe('somebody else logs in while one address', () => {
  let person: AddedPerson
  let accounts: (AddedPerson & Tokens)[]
  beforeAll(async () => {
    const hash = await hashPassword(COST)
    person = await addPerson(sql, { hash })
    accounts = await Promise.all(times(12, () => addLoggedIn(service, sql, { hash })))
  })

  test('changes the passwords of twelve accounts to a common one', async () => {
    const floods = accounts.flatMap(({ access }) =>
      times(10, () => change(access, { new_password: 'password123' }, ATTACKER)),
    )
    expect(await logInMeanwhile(person.email, floods)).toEqual(ALL_IN)
    for (const answer of await Promise.all(floods)) expectProblem(answer, 'validation_failed')
  })

  test('guesses the current passwords of twelve accounts', async () => {
    const floods = accounts.flatMap(({ access }) =>
      times(10, (i) => change(access, { current_password: `a-guess-${i}` }, ATTACKER)),
    )
    expect(await logInMeanwhile(person.email, floods)).toEqual(ALL_IN)
    const statuses = (await Promise.all(floods)).map(({ status }) => status)
    // It was as much as the queue takes of one address, and more.
    expect(new Set(statuses)).toEqual(new Set([401, 503]))
  })

  test('logs in to a hundred and twenty accounts', async () => {
    const floods = times(120, () => logIn(freshEmail(), 'whatever-it-is', ATTACKER))
    expect(await logInMeanwhile(person.email, floods)).toEqual(ALL_IN)
    const statuses = (await Promise.all(floods)).map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([401, 503]))
  })

  test('signs up a hundred and twenty accounts', async () => {
    const floods = times(120, () => {
      const json = { email: freshEmail(), password: 'a-quite-unheard-of-one' }
      return call(service, 'POST /auth/signup', { json, headers: ATTACKER })
    })
    expect(await logInMeanwhile(person.email, floods)).toEqual(ALL_IN)
    const statuses = (await Promise.all(floods)).map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([201, 503]))
  })

  test('of many holds the session of one account, and each changes its password', async () => {
    const floods = times(120, (i) =>
      change(accounts[0]?.access ?? '', { current_password: 'a-guess' }, from(`198.51.100.${i}`)),
    )
    expect(await logInMeanwhile(person.email, floods)).toEqual(ALL_IN)
    const waited = (await Promise.all(floods)).filter(({ status }) => status !== 503)
    expect(waited.length).toBeWithin(1, 60)
  })
})

describe('nothing is hashed', () => {
  test('that a cheaper check refuses', async () => {
    const hashed = [spyOn(Bun.password, 'hash'), spyOn(Bun.password, 'verify')]
    const count = () => hashed.reduce((sum, { mock }) => sum + mock.calls.length, 0)
    const { access, ...person } = await addLoggedIn(service, sql, { hash: await hashPassword(COST) })
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const reset = { token: 'et_unknown', new_password: 'a-quite-unheard-of-one' }
    const grant = { grant_type: 'password', username: person.email, password: PASSWORD }
    const signUp = (email: string, password: string) =>
      call(service, 'POST /auth/signup', { json: { email, password } })
    const make = (json: object) => call(service, 'POST /users', { bearer: admin.access, json })
    const long = 'x'.repeat(1025)
    const before = count()
    const answers: [Answer, number][] = [
      [await change(access, { new_password: 'short' }, SOMEBODY), 422],
      [await change(access, { new_password: 'Summer2026!' }, SOMEBODY), 422],
      [await change(access, { new_password: person.email }, SOMEBODY), 422],
      [await change(access, { new_password: long }, SOMEBODY), 422],
      [await change(access, { current_password: long }, SOMEBODY), 401],
      [await change(access, { current_password: '' }, SOMEBODY), 401],
      [await logIn(person.email, long, SOMEBODY), 401],
      [await logIn(person.email, '', SOMEBODY), 401],
      [await logIn('no address', PASSWORD, SOMEBODY), 401],
      [await signUp(person.email, 'a-quite-unheard-of-one'), 409],
      [await signUp(freshEmail(), 'Summer2026!'), 422],
      [await make({ email: person.email, password: 'a-quite-unheard-of-one' }), 409],
      [await make({ email: freshEmail(), password: 'Summer2026!' }), 422],
      [await call(service, 'POST /auth/password-reset', { json: reset }), 401],
      [await call(service, 'POST /oauth/token', { form: { ...grant, scope: 'Not/One' } }), 400],
    ]
    expect(answers.map(([{ status }]) => status)).toEqual(answers.map(([, status]) => status))
    expect(count()).toBe(before)
    // The control: what is not refused is hashed.
    expect((await logIn(person.email, PASSWORD, SOMEBODY)).status).toBe(200)
    expect((await change(access, {}, SOMEBODY)).status).toBe(200)
    expect(count()).toBe(before + 3)
  })
})

describe('the queue', () => {
  /** Fills the queue, lets it run, and tells in which order things ran; `-` for what was turned away. */
  async function orderOf(callers: [name: string, address: string, account: string, isLogin?: boolean][]) {
    const queue = createFairQueue(1)
    const hold = Promise.withResolvers<void>()
    const order: string[] = []
    const first = queue.run({ address: null, account: '' }, () => hold.promise)
    const rest = callers.map(([name, address, account, isLogin = true]) =>
      queue.run({ address, account, isLogin }, async () => order.push(name)).catch(() => order.push('-')),
    )
    await Promise.resolve()
    const { waiting } = queue.load()
    hold.resolve()
    await Promise.all([first, ...rest])
    expect(queue.load()).toMatchObject({ running: 0, waiting: 0 })
    return { order: order.join(' '), waiting }
  }

  test('serves addresses in turn, and within an address its accounts', async () => {
    const { order } = await orderOf([
      ['a1', '192.0.2.1', 'one'],
      ['a2', '192.0.2.1', 'one'],
      ['a3', '192.0.2.1', 'two'],
      ['b1', '192.0.2.2', 'three'],
      ['b2', '192.0.2.2', 'three'],
      ['c1', '192.0.2.3', 'four'],
    ])
    expect(order).toBe('a1 b1 c1 a3 b2 a2')
  })

  test('serves log-ins and the rest in turn', async () => {
    const { order } = await orderOf([
      ['other1', '192.0.2.1', 'one', false],
      ['other2', '192.0.2.2', 'two', false],
      ['other3', '192.0.2.3', 'three', false],
      ['login1', '192.0.2.4', 'four'],
      ['login2', '192.0.2.4', 'five'],
    ])
    expect(order).toBe('other1 login1 other2 login2 other3')
  })

  test('takes addresses of one IPv6 network for one', async () => {
    const { order } = await orderOf([
      ['a1', '2001:db8::1', 'one'],
      ['a2', '2001:db8::2', 'two'],
      ['b1', '2001:db8:1::1', 'three'],
    ])
    expect(order).toBe('a1 b1 a2')
  })

  test.each<[of: string, most: number, caller: (i: number) => [string, string, boolean]]>([
    ['one address', 50, (i) => ['192.0.2.1', `${i}`, true]],
    ['one account', 10, (i) => [`192.0.2.${i}`, 'one', true]],
    ['what is no log-in', 50, (i) => [`192.0.2.${i}`, `${i}`, false]],
    ['all together', 100, (i) => [`192.0.2.${i}`, `${i}`, true]],
  ])('holds so many of %s: %d', async (_, most, callerOf) => {
    const { order, waiting } = await orderOf(times(130, (i) => [`${i}`, ...callerOf(i)]))
    expect(waiting).toBe(most)
    expect(order.split(' ').filter((name) => name === '-')).toHaveLength(130 - most)
  })

  test('goes on after work that fails', async () => {
    const queue = createFairQueue(1)
    const caller = { address: null, account: '' }
    const failing = queue.run(caller, () => Promise.reject(new Error('no')))
    const next = queue.run(caller, async () => 'next')
    expect(await failing.catch((error: Error) => error.message)).toBe('no')
    expect(await next).toBe('next')
  })
})
