import { describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/load.ts'
import { distrustOf, OTHERS } from '../../src/config/trust.ts'
import { openHome } from '../../src/db/embedded/directory.ts'
import { controlPath } from '../../src/server/control-client.ts'
import { keepSecretKey } from '../../src/server/secret-key.ts'
import { emptyDirectory } from '../support/binary.ts'
import { runInProcess } from '../support/command-line.ts'

const THIS_USER = 65_534
const OTHER_USER = 65_533
/** Only root can change the owner of a file and become another user. */
const isRoot = process.geteuid?.() === 0

/** Makes a directory or a file with that mode, whatever the umask. */
function make(path: string, mode: number, text?: string): string {
  if (text === undefined) mkdirSync(path)
  else writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

/** The fault of a path for `user`. */
function distrustAs(user: number, path: string, forbidden?: number): string | null {
  process.seteuid?.(user)
  try {
    return distrustOf(path, forbidden)
  } finally {
    process.seteuid?.(0)
  }
}

describe('a file is used only if no other user can write it', () => {
  test.each([
    [0o600, null],
    [0o644, null],
    [0o400, null],
    [0o666, 'written'],
    [0o646, 'written'],
    [0o664, 'written'],
    [0o620, 'written'],
  ])('its mode is %o', (mode, fault) => {
    using here = emptyDirectory()
    const path = make(join(here.path, 'file'), mode, '')
    if (isRoot) chownSync(path, 0, OTHER_USER)
    else if (mode & 0o020) return
    expect(distrustOf(path)).toEqual(fault === null ? null : expect.stringContaining(fault))
  })

  test.each([
    [0o600, null],
    [0o400, null],
    [0o644, 'read'],
    [0o640, 'read'],
    [0o604, 'read'],
    [0o666, 'written'],
  ])('a secret may not be readable by others: mode %o', (mode, fault) => {
    using here = emptyDirectory()
    const path = make(join(here.path, 'file'), mode, '')
    if (isRoot) chownSync(path, 0, OTHER_USER)
    else if (mode === 0o640) return
    const found = distrustOf(path, OTHERS.readOrWrite)
    expect(found).toEqual(fault === null ? null : expect.stringContaining(fault))
  })

  test('a missing path has no fault, and an unreadable path is reported as such', () => {
    for (const path of ['/nowhere/at/all', '/dev/null/below']) expect(distrustOf(path)).toBeNull()
  })

  test.skipIf(!isRoot)('its owner is this user or root', () => {
    using here = emptyDirectory()
    chmodSync(here.path, 0o755)
    const owned = (name: string, owner: number, group: number, mode: number) => {
      const path = make(join(here.path, name), 0o600, '')
      chownSync(path, owner, group)
      chmodSync(path, mode)
      return path
    }
    const strangers = owned('strangers', OTHER_USER, OTHER_USER, 0o600)
    for (const user of [0, THIS_USER]) expect(distrustAs(user, strangers)).toContain(`user ${OTHER_USER}`)
    expect(distrustAs(OTHER_USER, strangers)).toBeNull()
    // Docker and Kubernetes mount a secret so: owned by root, readable by all, behind symbolic links.
    const mounted = owned('mounted', 0, 0, 0o444)
    symlinkSync(mounted, join(here.path, '..data'))
    symlinkSync('..data', join(here.path, 'secret'))
    expect(distrustAs(THIS_USER, join(here.path, 'secret'))).toBeNull()
    // A link of this user to a file of another user is refused.
    symlinkSync(strangers, join(here.path, 'link'))
    expect(distrustAs(THIS_USER, join(here.path, 'link'))).toContain(`user ${OTHER_USER}`)
    // A group of the user (umask 002, fsGroup of a pod) may write. Another group may not.
    const grouped = owned('grouped', THIS_USER, THIS_USER, 0o660)
    expect(distrustAs(THIS_USER, grouped, OTHERS.readOrWrite)).toBeNull()
    expect(distrustAs(THIS_USER, owned('other-group', THIS_USER, OTHER_USER, 0o660))).toContain('written')
    expect(distrustAs(0, owned('group-of-root', 0, 0, 0o660))).toContain('written')
  })
})

describe('DATA_DIR', () => {
  /** Starts a server of another user in the place of ours, which records the messages that it gets. */
  function listenAt(dataDir: string) {
    const heard: string[] = []
    const server = Bun.serve({
      unix: controlPath(dataDir),
      fetch: async (request) => {
        heard.push(await request.text())
        return new Response(`${JSON.stringify({ result: { email: 'a@example.com', id: 'x' } })}\n`)
      },
    })
    return { heard, [Symbol.asyncDispose]: () => server.stop(true) }
  }
  const createAdmin = (directory: string) => {
    const words = ['admin', 'create', '--email', 'a@example.com', '--password-stdin']
    return runInProcess(words, { directory, input: 'correct-horse-battery' })
  }
  const WAYS: [string, (dataDir: string, socket: string) => void, string, boolean][] = [
    ['that others may write', (dataDir) => chmodSync(dataDir, 0o777), 'can be written by other users', false],
    [
      'that others may write, with a sticky bit',
      (dataDir) => chmodSync(dataDir, 0o1777),
      'can be written',
      false,
    ],
    ['that a group may write', (dataDir) => chmodSync(dataDir, 0o770), 'can be written', true],
    ['of another user', (dataDir) => chownSync(dataDir, OTHER_USER, OTHER_USER), 'belongs to', true],
    [
      'with a socket of another user',
      (_, socket) => chownSync(socket, OTHER_USER, OTHER_USER),
      'control.sock belongs',
      true,
    ],
    [
      'with a socket that others may write to',
      (_, socket) => chmodSync(socket, 0o666),
      'control.sock can be written',
      false,
    ],
  ]

  test.each(WAYS)('%s: no password is told to who listens there', async (_, spoil, fault, needsRoot) => {
    if (needsRoot && !isRoot) return
    using here = emptyDirectory()
    const dataDir = make(join(here.path, 'data'), 0o700)
    await using listening = listenAt(dataDir)
    const socket = controlPath(dataDir)
    chmodSync(socket, 0o600)
    // The control: our own server gets the command.
    expect(await createAdmin(here.path)).toMatchObject({ code: 0, err: '' })
    expect(listening.heard.join()).toContain('correct-horse-battery')
    listening.heard.length = 0
    spoil(dataDir, socket)
    const refused = await createAdmin(here.path)
    expect([refused.code, refused.out]).toEqual([1, ''])
    // The message is one sentence.
    expect(refused.err).toMatch(/^latchkey: [^\n]+\n$/)
    expect(refused.err).toContain(fault)
    expect(listening.heard).toEqual([])
  })

  test.each(WAYS.slice(0, 4))('%s: no database is opened or made there', (_, spoil, fault, needsRoot) => {
    if (needsRoot && !isRoot) return
    using here = emptyDirectory()
    const dataDir = make(join(here.path, 'data'), 0o700)
    spoil(dataDir, '')
    expect(() => openHome(dataDir, true)).toThrow(fault)
    expect(existsSync(join(dataDir, 'database'))).toBe(false)
    if (isRoot) chownSync(dataDir, 0, 0)
    chmodSync(dataDir, 0o755)
    openHome(dataDir, true).unlock()
  })

  test.skipIf(!isRoot)('with a database of another user in it: it is not opened', () => {
    using here = emptyDirectory()
    const database = make(join(here.path, 'database'), 0o700)
    chownSync(database, OTHER_USER, OTHER_USER)
    expect(() => openHome(here.path, true)).toThrow(`belongs to the user ${OTHER_USER}`)
  })

  test('with a key that others may read or write, or of another user: the key is not used', async () => {
    using here = emptyDirectory()
    const keep = async () => (await keepSecretKey(here.path, true)).reveal()
    const made = await keep()
    expect(await keep()).toBe(made)
    const path = join(here.path, 'secret_key')
    for (const [mode, fault] of [
      [0o644, 'read'],
      [0o666, 'written'],
    ] as const) {
      chmodSync(path, mode)
      await expect(keep()).rejects.toThrow(fault)
    }
    chmodSync(path, 0o600)
    expect(await keep()).toBe(made)
    if (!isRoot) return
    chownSync(path, OTHER_USER, OTHER_USER)
    await expect(keep()).rejects.toThrow(`belongs to the user ${OTHER_USER}`)
  })
})

describe('.env', () => {
  const load = (dotenv: string) =>
    loadConfig({ environment: {}, dotenv }, { isTerminal: true, isRead: false })

  test('that others may write, or of another user, is a fault, and its settings are ignored', async () => {
    using here = emptyDirectory()
    const path = make(join(here.path, '.env'), 0o666, 'PORT=1234\n')
    expect(load(path)).toEqual({
      faults: [expect.stringContaining('.env in the working directory can be written')],
    })
    const { code, err } = await runInProcess(['config'], { directory: here.path })
    expect([code, err]).toEqual([2, expect.stringContaining('chmod go-w')])
    chmodSync(path, 0o644)
    expect(load(path)).toMatchObject({ config: { port: 1234 }, warnings: [] })
    if (!isRoot) return
    chownSync(path, OTHER_USER, OTHER_USER)
    expect(load(path)).toEqual({ faults: [expect.stringContaining(`user ${OTHER_USER}`)] })
  })

  test('that others may read is a warning where it has a secret', () => {
    using here = emptyDirectory()
    const path = join(here.path, '.env')
    for (const [text, mode, warned] of [
      ['SECRET_KEY=', 0o644, 0],
      [`export SECRET_KEY="${'aZ3'.repeat(4)}qX7vB2mK9tQ4wZ8nRpL5jH6g"`, 0o644, 1],
      ['REDIS_URL=redis://:password@localhost', 0o644, 1],
      ['REDIS_URL=redis://:password@localhost', 0o600, 0],
      ['#SECRET_KEY=x\nPORT=80', 0o644, 0],
    ] as const) {
      make(path, mode, text)
      const result = load(path)
      expect([text, 'warnings' in result && result.warnings.length]).toEqual([text, warned])
    }
  })

  test('that is a directory is ignored', () => {
    using here = emptyDirectory()
    make(join(here.path, '.env'), 0o777)
    expect(load(join(here.path, '.env'))).toMatchObject({ warnings: [] })
  })
})
