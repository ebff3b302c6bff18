import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** A Latchkey in its own process, with its URLs. */
export type Server = { url: string; metricsUrl: string; [Symbol.asyncDispose](): Promise<void> }

const START_MS = 120_000
const END_MS = 10_000

/**
 * Starts a program, or the source of a tree, and waits until it is ready.
 * @param program the binary's file, or the directory of a tree
 * @param settings its whole environment except the ports; nothing is inherited
 * @param databaseUrl a database without rows; absent: a new embedded one
 * @throws Error with its output if it ends, or is not ready in time
 */
export async function startServer(
  program: string,
  settings: Record<string, string>,
  databaseUrl?: string,
): Promise<Server> {
  const [port, metricsPort] = await Promise.all([freePort(), freePort()])
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-replay-'))
  const cwd = join(directory, 'empty')
  mkdirSync(cwd)
  const log = Bun.file(join(directory, 'log'))
  const command = [...commandOf(resolve(program)), 'serve']
  const onDatabase = databaseUrl && {
    DATABASE_URL: databaseUrl,
    SECRET_KEY: randomBytes(32).toString('base64'),
  }
  const env = { ...settings, ...onDatabase, PORT: String(port), METRICS_PORT: String(metricsPort) }
  const child = Bun.spawn(command, { cwd, env, stdio: ['ignore', log, log] })
  const end = async () => {
    child.kill('SIGTERM')
    const isEnded = await Promise.race([child.exited.then(() => true), Bun.sleep(END_MS).then(() => false)])
    if (!isEnded) child.kill('SIGKILL')
    await child.exited
    rmSync(directory, { recursive: true })
  }
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + START_MS
  while (!(await isReady(url))) {
    if (child.exitCode === null && Date.now() < deadline) {
      await Bun.sleep(20)
      continue
    }
    const output = readFileSync(join(directory, 'log'), 'utf8')
    await end()
    throw new Error(`${program} does not serve:\n${output}`)
  }
  return { url, metricsUrl: `http://127.0.0.1:${metricsPort}`, [Symbol.asyncDispose]: end }
}

/** Bun's own reading of `.env` is off, because its rules differ (docs/decisions/0002). */
const commandOf = (program: string) =>
  statSync(program).isDirectory()
    ? [process.execPath, '--no-env-file', join(program, 'src/main.ts')]
    : [program]

const isReady = (url: string) =>
  fetch(`${url}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  )

/**
 * Below the ports that systems assign, so that no other program receives the port before the server listens.
 */
const FIRST_PORT = 10_000
const PORTS = 20_000

/**
 * Finds a port on which nothing listens. The server could choose one, but the text in which it reports the
 * port may differ between two trees.
 */
async function freePort(): Promise<number> {
  const port = FIRST_PORT + Math.floor(Math.random() * PORTS)
  const isFree = await new Promise<boolean>((resolveFree) => {
    const probe = createServer()
    probe.once('error', () => resolveFree(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolveFree(true)))
  })
  return isFree ? port : freePort()
}
