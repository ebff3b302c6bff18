import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Glob } from 'bun'
import postgres from 'postgres'
import { type DatabaseProxy, startDatabaseProxy } from './database-proxy.ts'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

const SHIPPED = join(import.meta.dir, '../../deploy/patroni')
/** The newest PostgreSQL of Debian's packages. */
const BIN =
  [...new Glob('/usr/lib/postgresql/*/bin/pg_basebackup').scanSync('/')].sort().map(dirname).at(-1) ?? ''
const PATH = `${process.env.PATH}:/usr/sbin`

/** What this machine lacks of the packages that run the example. null: nothing. */
export const LACKS: string | null =
  ['patroni', 'etcd', 'haproxy'].filter((program) => !Bun.which(program, { PATH })).join(', ') ||
  (BIN ? null : 'postgresql')

/** One node: PostgreSQL and the Patroni that runs it. */
export type Node = {
  name: string
  port: number
  directory: string
  /** Between this node and etcd. */
  etcd: DatabaseProxy
  /** Ends every process of PostgreSQL, and leaves Patroni alone. */
  killPostgres(): void
  killPatroni(): Promise<void>
  /** SIGSTOP to PostgreSQL and Patroni, as of a machine that stands still. */
  freeze(): void
  thaw(): void
  startPatroni(): void
  /** SIGSTOP to the processes that send changes to standbys. */
  stopReplication(): void
  /** Starts PostgreSQL without Patroni. Returns a function that ends it. */
  startAlone(): Promise<() => Promise<void>>
}

/** The example of `deploy/patroni` on loopback: three nodes, one etcd, and HAProxy. */
export type PatroniCluster = {
  nodes: readonly Node[]
  /** Names all nodes. */
  url: string
  /** Names HAProxy. */
  proxiedUrl: string
  /** Waits until a node takes writes: another one than `except`, or any. */
  takingWrites(except?: Node): Promise<Node>
  /** Asks one node, as superuser. null where it does not answer. */
  ask<T>(node: Node, query: string, database?: string): Promise<T[] | null>
  /** Waits until all nodes are in the cluster, and a standby is synchronous where the mode is. */
  settled(): Promise<void>
  /** A planned change of the primary, by Patroni's API. */
  switchOver(from: Node): Promise<void>
  /** Changes the settings of the cluster, as `patronictl edit-config` does. */
  configure(change: object): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** PostgreSQL refuses to run as root. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
const PASSWORD = 'any'
const ROLE = 'latchkey'

/** How the cluster differs from the example. */
type Differences = {
  /** false: commits are answered before a standby has them. */
  isSynchronous?: boolean
  /** How often Patroni looks. */
  loopSeconds?: number
  /** More settings of the cluster, and parameters of PostgreSQL. */
  settings?: object
  parameters?: Record<string, string>
}

/** Starts the cluster, and makes the role and the database. */
export async function startPatroni(differences: Differences = {}): Promise<PatroniCluster> {
  const { isSynchronous = true } = differences
  const home = mkdtempSync(join(tmpdir(), 'latchkey-patroni-'))
  own(home)
  const guard = guardAgainstOrphans(home)
  const children = new Set<ChildProcess>()
  const run = (file: string, args: string[]) => {
    const child = spawn(file, args, {
      ...UNPRIVILEGED,
      cwd: home,
      env: { PATH, HOME: home, LANG: 'C.UTF-8' },
      stdio: 'ignore',
    })
    children.add(child)
    return child
  }
  const nodes: (Node & { apiPort: number })[] = []
  const dispose = async () => {
    for (const node of nodes) {
      node.thaw()
      await node.killPatroni()
      node.killPostgres()
      node.etcd.close()
    }
    for (const child of children) child.kill('SIGKILL')
    const gone = once(guard, 'exit')
    guard.stdin?.end()
    await gone
    rmSync(home, { recursive: true, force: true })
  }
  const ask = async <T>(node: Node, query: string, database = 'postgres'): Promise<T[] | null> => {
    const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${node.port}/${database}`
    const client = postgres(url, { max: 1, connect_timeout: 1, onnotice: () => {} })
    const late = Bun.sleep(2000).then(() => null)
    try {
      const answer = client.unsafe(query).then(
        (rows) => [...rows] as T[],
        () => null,
      )
      return await Promise.race([answer, late])
    } finally {
      void client.end({ timeout: 0 })
    }
  }
  const takesWrites = async (node: Node) =>
    (await ask<{ id: string }>(node, 'SELECT pg_catalog.txid_current()::text AS id')) !== null
  const settled = async () => {
    const isSettled = async () => {
      const members = await Promise.all(nodes.map(membersOf))
      return members.every(
        (seen) =>
          seen.filter(({ state }) => /^(running|streaming)$/.test(state)).length === 3 &&
          seen.some(({ role }) => role === 'leader') &&
          seen.some(({ role }) => role === (isSynchronous ? 'sync_standby' : 'replica')),
      )
    }
    await until(isSettled, 'all nodes are in the cluster', 120_000)
    await takingWrites()
  }
  const takingWrites = async (except?: Node) => {
    const others = nodes.filter((node) => node !== except)
    const found = Promise.withResolvers<Node>()
    let isFound = false
    found.promise.then(() => {
      isFound = true
    })
    // A question may wait for a standby. The next one does not wait for it.
    const asking = async () => {
      for (let round = 0; round < 600 && !isFound; round++) {
        for (const node of others)
          void takesWrites(node).then((takes) => {
            if (takes) found.resolve(node)
          })
        await Bun.sleep(200)
      }
      found.reject(new Error('no node takes writes'))
    }
    void asking()
    return await found.promise
  }
  try {
    const etcdPort = await startEtcd(home, run)
    for (const name of ['db1', 'db2', 'db3'])
      nodes.push(await makeNode(home, name, etcdPort, differences, run))
    for (const node of nodes) node.startPatroni()
    await settled()
    const first = await takingWrites()
    const admin = postgres(`postgres://postgres:${PASSWORD}@127.0.0.1:${first.port}/postgres`, { max: 1 })
    await admin.unsafe(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`)
    await admin.unsafe(`CREATE DATABASE ${ROLE} OWNER ${ROLE}`)
    await admin.end()
    const proxyPort = await startHaproxy(home, nodes, run)
    const at = (places: string) => `postgres://${ROLE}:${PASSWORD}@${places}/${ROLE}`
    return {
      nodes,
      url: at(nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')),
      proxiedUrl: at(`127.0.0.1:${proxyPort}`),
      settled,
      takingWrites,
      ask,
      async switchOver(from) {
        const { apiPort } = nodes.find((node) => node === from) ?? { apiPort: 0 }
        // 412: Patroni does not know of a synchronous standby yet.
        const isDone = async () => {
          const { status } = await fetch(`http://127.0.0.1:${apiPort}/switchover`, {
            method: 'POST',
            body: JSON.stringify({ leader: from.name }),
          })
          if (status !== 200 && status !== 412)
            throw new Error(`Patroni answered the switchover with ${status}`)
          return status === 200
        }
        await until(isDone, 'Patroni changes the primary', 60_000)
      },
      async configure(change) {
        const body = JSON.stringify(change)
        const isDone = async () => {
          for (const { apiPort } of nodes) {
            const asked = fetch(`http://127.0.0.1:${apiPort}/config`, { method: 'PATCH', body })
            if (
              await asked.then(
                ({ ok }) => ok,
                () => false,
              )
            )
              return true
          }
          return false
        }
        await until(isDone, 'Patroni takes the settings', 60_000)
      },
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    const logs = nodes
      .map(({ directory }) => readIfAny(`${directory}.log/patroni.log`).slice(-2000))
      .join('\n')
    await dispose()
    throw new Error(`the cluster did not start:\n${logs}`, { cause: error })
  }
}

/** The members of the cluster as a node's Patroni sees them. */
async function membersOf({ apiPort }: { apiPort: number }): Promise<{ role: string; state: string }[]> {
  try {
    const answer = await fetch(`http://127.0.0.1:${apiPort}/cluster`, { signal: AbortSignal.timeout(1000) })
    const body = (await answer.json()) as { members?: { role: string; state: string }[] }
    return body.members ?? []
  } catch {
    return []
  }
}

/**
 * A shell that waits until its standard input is closed, as the kernel does when this process ends. Then it ends every
 * process whose command line names a file in `home`.
 */
function guardAgainstOrphans(home: string): ChildProcess {
  const script = `trap "" INT TERM HUP
cat >/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do
  left=$(grep -l "$1[/]" /proc/[0-9]*/cmdline | cut -d/ -f3)
  [ -n "$left" ] || break
  kill -CONT $left; kill -KILL $left
  sleep 0.1
done 2>/dev/null
rm -rf "$1"`
  const guard = spawn('/bin/sh', ['-c', script, 'sh', home], { stdio: ['pipe', 'ignore', 'ignore'] })
  guard.unref()
  return guard
}

type Run = (file: string, args: string[]) => ChildProcess

async function startEtcd(home: string, run: Run): Promise<number> {
  const [port, peerPort] = [await freePort(), await freePort()]
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
  const file = configure(home, 'etcd.yml', (settings) => {
    Object.assign(settings, {
      'data-dir': join(home, 'etcd'),
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'initial-cluster': `db1=${peer}`,
    })
  })
  run('etcd', ['--config-file', file])
  await until(
    () =>
      fetch(`${client}/health`).then(
        ({ ok }) => ok,
        () => false,
      ),
    'etcd answers',
  )
  return port
}

async function makeNode(
  home: string,
  name: string,
  etcdPort: number,
  { isSynchronous = true, loopSeconds, settings: more = {}, parameters = {} }: Differences,
  run: Run,
): Promise<Node & { apiPort: number }> {
  const etcd = await startDatabaseProxy(etcdPort)
  const [port, apiPort] = [await freePort(), await freePort()]
  const directory = join(home, name)
  const file = configure(
    home,
    'patroni.yml',
    (settings) => {
      settings.name = name
      const api = `127.0.0.1:${apiPort}`
      settings.restapi = { listen: api, connect_address: api }
      // As proxies, they are not replaced by the addresses that etcd names.
      settings.etcd3 = {
        hosts: [new URL(etcd.url(`postgres://a@127.0.0.1:${etcdPort}/`)).host],
        use_proxies: true,
      }
      settings.bootstrap.dcs.synchronous_mode = isSynchronous
      settings.bootstrap.dcs.loop_wait = loopSeconds ?? settings.bootstrap.dcs.loop_wait
      Object.assign(settings.bootstrap.dcs, more)
      Object.assign(settings.bootstrap.dcs.postgresql.parameters, parameters)
      const place = `127.0.0.1:${port}`
      Object.assign(settings.postgresql, {
        listen: place,
        connect_address: place,
        data_dir: directory,
        bin_dir: BIN,
        pgpass: join(home, `${name}.pgpass`),
        parameters: { unix_socket_directories: '', fsync: 'off' },
      })
      for (const role of Object.values<{ password: string }>(settings.postgresql.authentication))
        role.password = PASSWORD
      settings.watchdog = { mode: 'off' }
      settings.bootstrap.initdb.push('no-sync')
      settings.postgresql.basebackup = ['no-sync']
      const logs = join(home, `${name}.log`)
      mkdirSync(logs)
      own(logs)
      settings.log = { dir: logs }
    },
    name,
  )
  let patroni: ChildProcess | null = null
  const killPostgres = () => signalPostgres(directory, 'SIGKILL')
  return {
    name,
    port,
    apiPort,
    directory,
    etcd,
    killPostgres,
    async killPatroni() {
      if (!patroni || patroni.exitCode !== null || patroni.signalCode !== null) return
      const ended = once(patroni, 'exit')
      patroni.kill('SIGKILL')
      await ended
    },
    freeze() {
      patroni?.kill('SIGSTOP')
      signalPostgres(directory, 'SIGSTOP')
    },
    thaw() {
      signalPostgres(directory, 'SIGCONT')
      patroni?.kill('SIGCONT')
    },
    startPatroni() {
      patroni = run('patroni', [file])
    },
    stopReplication() {
      for (const pid of processesOf(directory))
        if (readIfAny(`/proc/${pid}/cmdline`).includes('walsender')) process.kill(pid, 'SIGSTOP')
    },
    async startAlone() {
      const child = run(join(BIN, 'postgres'), ['-D', directory, '-c', `port=${port}`])
      const isReady = () =>
        postmasterOf(directory) === child.pid &&
        readIfAny(join(directory, 'postmaster.pid')).includes('ready')
      await until(isReady, 'it is ready')
      return async () => {
        const ended = once(child, 'exit')
        child.kill('SIGINT')
        await ended
      }
    },
  }
}

async function startHaproxy(
  home: string,
  nodes: readonly (Node & { apiPort: number })[],
  run: Run,
): Promise<number> {
  const port = await freePort()
  let text = readFileSync(join(SHIPPED, 'haproxy.cfg'), 'utf8').replace('127.0.0.1:5000', `127.0.0.1:${port}`)
  for (const node of nodes)
    text = text.replace(
      new RegExp(`server ${node.name} .*`),
      `server ${node.name} 127.0.0.1:${node.port} check port ${node.apiPort}`,
    )
  const file = join(home, 'haproxy.cfg')
  writeFileSync(file, text)
  own(file)
  run('haproxy', ['-db', '-f', file])
  return port
}

/** Writes a shipped file with the changes that a test on loopback needs. JSON is YAML. */
function configure(
  home: string,
  shipped: string,
  // biome-ignore lint/suspicious/noExplicitAny: the settings of another program
  change: (settings: any) => void,
  name = '',
): string {
  const text = readFileSync(join(SHIPPED, shipped), 'utf8').replaceAll('10.0.0.0/24', '127.0.0.1/32')
  const settings = Bun.YAML.parse(text)
  change(settings)
  const file = join(home, `${name}${shipped}`)
  writeFileSync(file, JSON.stringify(settings))
  own(file)
  chmodSync(file, 0o600)
  return file
}

function own(path: string): void {
  if (UNPRIVILEGED.uid !== undefined) chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid)
}

const readIfAny = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '')

const postmasterOf = (directory: string) =>
  Number(readIfAny(join(directory, 'postmaster.pid')).split('\n')[0])

/** Whether the postmaster of a data directory runs. A number that was given to another process since does not count. */
function isRunning({ directory }: Pick<Node, 'directory'>): boolean {
  const pid = postmasterOf(directory)
  return pid > 0 && readIfAny(`/proc/${pid}/cmdline`).includes(directory)
}

/** The postmaster and its children. */
function processesOf(directory: string): number[] {
  if (!isRunning({ directory })) return []
  const pid = postmasterOf(directory)
  const children = Bun.spawnSync(['pgrep', '-P', String(pid)])
    .stdout.toString()
    .split('\n')
    .filter(Boolean)
  return [pid, ...children.map(Number)]
}

/** Sends a signal to every process of a PostgreSQL. */
function signalPostgres(directory: string, signal: NodeJS.Signals): void {
  for (const pid of processesOf(directory)) {
    try {
      process.kill(pid, signal)
    } catch {
      // The process has ended in the meantime.
    }
  }
}
