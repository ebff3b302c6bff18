import { expect, test } from 'bun:test'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS } from '../../src/cli/commands.ts'
import { emptyDirectory } from '../support/binary.ts'
import { runInProcess } from '../support/command-line.ts'

/** The arguments that a command needs. */
const WORDS: Record<string, string> = {
  'admin create': '--email a@example.com',
  'users create': '--email a@example.com',
  'users disable': 'a@example.com',
  'users enable': 'a@example.com',
  'users set-role': 'a@example.com admin',
  'users set-password': 'a@example.com',
  'users show': 'a@example.com',
  'users sessions': 'a@example.com',
  'users delete': 'a@example.com',
  'users set-email': 'a@example.com b@example.com',
  'users verify-email': 'a@example.com',
  'users reset-mfa': 'a@example.com',
  'users unlock': 'a@example.com',
  'mail test': '--to a@example.com',
  'mail retry': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys create': '--user a@example.com',
  'keys revoke': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys rotate': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys show': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys usage': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys refusals': '01890a5d-ac96-774b-bcce-b302099a8057',
  'keys credits': '01890a5d-ac96-774b-bcce-b302099a8057 --add 1',
  'service-accounts show': '01890a5d-ac96-774b-bcce-b302099a8057',
  'service-accounts create': '--name a',
  'service-accounts update': '01890a5d-ac96-774b-bcce-b302099a8057 --name a',
  'service-accounts delete': '01890a5d-ac96-774b-bcce-b302099a8057',
  'service-accounts managers': '01890a5d-ac96-774b-bcce-b302099a8057',
  'clients create': '--name a --kind public --redirect-uris https://a.example.com/cb',
  'clients delete': '01890a5d-ac96-774b-bcce-b302099a8057',
  'resources create': '--identifier https://a.example.com --name a --slug a',
  'resources delete': '01890a5d-ac96-774b-bcce-b302099a8057',
  'grants list': 'a@example.com',
  'grants end': 'a@example.com 01890a5d-ac96-774b-bcce-b302099a8057',
  'import seed': '--from postgres://127.0.0.1:1/db',
  'import users': '-',
  'import keys': '-',
  'region subscription': '--name a',
  'region resync': '--name a',
  backup: '--to FILE',
  export: '--to FILE',
  'sessions end': '--all',
  'signing-keys revoke': 'x',
}
/** Commands that need no database, or make one from a file, which is missing here. */
const OTHERS = ['serve', 'openapi', 'healthcheck', 'config', 'restore', 'import', 'mail templates']
const tested = COMMANDS.map(({ name }) => name).filter((name) => !OTHERS.includes(name))

test.each(tested)('where there is no database, "%s" says so and creates nothing', async (name) => {
  using here = emptyDirectory()
  const words = [
    ...name.split(' '),
    ...(WORDS[name]?.replace('FILE', join(here.path, 'file')).split(' ') ?? []),
  ]
  const env = { LATCHKEY_PASSPHRASE: 'a passphrase of words' }
  const { code, err } = await runInProcess(words, {
    directory: here.path,
    env,
    input: 'a passphrase of words',
  })
  expect({ code, err }).toEqual({
    code: 1,
    err: expect.stringMatching(
      /^latchkey: there is no database: DATABASE_URL is not set, and DATA_DIR \(\S+\) holds none/,
    ),
  })
  expect(readdirSync(here.path)).toEqual([])
})

test('the control: an existing database is opened', async () => {
  using here = emptyDirectory()
  mkdirSync(join(here.path, 'data/database/data'), { recursive: true })
  writeFileSync(join(here.path, 'data/database/data/PG_VERSION'), '17\n')
  const { code, err } = await runInProcess(['users', 'list'], { directory: here.path })
  expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('is of PostgreSQL 17') })
  expect(readdirSync(join(here.path, 'data'))).toEqual(['database'])
})
