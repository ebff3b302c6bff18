import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { emptyDirectory } from '../support/binary.ts'
import { runInProcess } from '../support/command-line.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const PASSWORD = 'a passphrase of several words'
const CREATE_ADMIN = ['admin', 'create', '--json', '--email']

describe('a command in this process', () => {
  let database: TestDatabase
  let env: Record<string, string>
  beforeAll(async () => {
    database = await createDatabase()
    env = { DATABASE_URL: database.url, SECRET_KEY: randomBytes(32).toString('hex') }
  })
  afterAll(() => database.drop())

  test('reads standard input, works on the database, and gives its output and its exit code', async () => {
    const words = [...CREATE_ADMIN, 'one@example.com', '--password-stdin']
    const made = await runInProcess(words, { env, input: `${PASSWORD}\n` })
    expect(made).toMatchObject({ code: 0, err: '' })
    const listed = await runInProcess(['users', 'list', '--query', 'one@', '--json'], { env })
    expect(JSON.parse(listed.out).items).toEqual([
      expect.objectContaining({ id: JSON.parse(made.out).id, role: 'admin' }),
    ])
    const again = await runInProcess(words, { env, input: PASSWORD })
    expect(again).toEqual({ code: 1, out: '', err: 'latchkey: This e-mail is already registered.\n' })
  })

  test('exits with 2 on wrong use', async () => {
    const { code, out, err } = await runInProcess(['users', 'list', '--limit', '0'], { env })
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toStartWith('latchkey: --limit must be a whole number from 1 to 10000, not "0"\n')
  })

  test('asks at the terminal for a password twice, and gives up at an end of input', async () => {
    const words = [...CREATE_ADMIN, 'two@example.com']
    const differing = await runInProcess(words, { env, answers: [PASSWORD, `${PASSWORD}!`] })
    expect(differing).toMatchObject({ code: 1, err: expect.stringContaining('the two passwords differ') })
    const ended = await runInProcess(words, { env, answers: [PASSWORD] })
    expect(ended).toMatchObject({ code: 1, err: expect.stringContaining('given up') })
    const made = await runInProcess(words, { env, answers: [PASSWORD, PASSWORD] })
    expect(made.code).toBe(0)
    // The person chose the password, so none is printed.
    expect(JSON.parse(made.out)).not.toHaveProperty('password')
    expect(made.err).toBe('Password (empty: have one made): \nThe same again: \n')
  })

  test('has exactly the given settings', async () => {
    using here = emptyDirectory()
    writeFileSync(join(here.path, '.env'), 'HOST=::1\nPORT=1234\n')
    const settings = async (options: Parameters<typeof runInProcess>[1]) =>
      JSON.parse((await runInProcess(['config', '--json'], options)).out)
    const given = await settings({ directory: here.path, env: { PORT: '4321' } })
    expect(given).toMatchObject({ HOST: '::1', PORT: 4321, DATA_DIR: join(here.path, 'data') })
    process.env.PORT = '1111'
    expect(await settings({}).finally(() => delete process.env.PORT)).toMatchObject({ PORT: 8000 })
  })
})
