import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Glob } from 'bun'

const root = resolve(import.meta.dir, '../..')
const BINARY = join(root, 'dist/latchkey')
const SOURCES = [
  'src/**',
  'client/**',
  'console/**',
  'drizzle/**',
  'scripts/**',
  'package.json',
  'bun.lock',
  'tsconfig.json',
]

let built: Promise<string> | null = null

/**
 * The binary of the present source: the one in `dist/`, or a new build if a source file is newer. Takes up to
 * 30 s.
 */
export function builtBinary(): Promise<string> {
  built ??= buildIfStale()
  return built
}

async function buildIfStale(): Promise<string> {
  const sources = SOURCES.flatMap((pattern) => [...new Glob(pattern).scanSync({ cwd: root })])
  const youngest = Math.max(...sources.map((path) => statSync(join(root, path)).mtimeMs))
  if (!existsSync(BINARY) || statSync(BINARY).mtimeMs <= youngest) {
    const build = await runProgram([process.execPath, 'scripts/build.ts'], { cwd: root, env: process.env })
    if (build.code !== 0) throw new Error(`The build failed:\n${build.err}`)
  }
  return BINARY
}

type Surroundings = { cwd: string; env?: Record<string, string | undefined>; stdin?: string }

/** Runs a program to its end in a directory, with no environment except `env`. */
export async function runProgram(
  command: readonly string[],
  { cwd, env = {}, stdin = '' }: Surroundings,
): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([...command], {
    cwd,
    env,
    stdin: new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, out, err }
}

/** A server in its own process. */
export type RunningProgram = {
  url: string
  pid: number
  exited: Promise<number>
  /** Everything that the program has written. */
  output(): string
  /** Ends the program and returns its exit code: 128 plus the signal's number for a signal. */
  end(signal: 'SIGTERM' | 'SIGHUP' | 'SIGKILL'): Promise<number>
  /** `await using server = …` ends the server even if the test fails. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts a server on a port that the system chooses, and waits until it reports that it listens.
 * @throws Error with its output if it ends before that
 */
export async function startProgram(
  command: readonly string[],
  { cwd, env = {} }: Surroundings,
): Promise<RunningProgram> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { PORT: '0', PUBLIC_URL: 'http://localhost', SHUTDOWN_DELAY_SECONDS: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  let text = ''
  const { promise: listening, resolve: found } = Promise.withResolvers<string>()
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      text += decoder.decode(chunk, { stream: true })
      const port = /Listening on http:\/\/[^"\s]*:(\d+)/.exec(text)?.[1]
      if (port) found(`http://127.0.0.1:${port}`)
    }
  }
  const allRead = Promise.all([read(child.stdout), read(child.stderr)])
  const url = await Promise.race([listening, allRead.then(() => null)])
  if (url === null) throw new Error(`It ended with ${await child.exited} before it listened:\n${text}`)
  const end = async (signal: 'SIGTERM' | 'SIGHUP' | 'SIGKILL') => {
    child.kill(signal)
    await allRead
    return child.exited
  }
  return {
    url,
    pid: child.pid,
    exited: child.exited,
    output: () => text,
    end,
    [Symbol.asyncDispose]: async () => {
      await end('SIGKILL')
    },
  }
}

/** An empty directory outside of the source tree. `using here = emptyDirectory()` removes it. */
export function emptyDirectory() {
  const path = mkdtempSync(join(tmpdir(), 'latchkey-test-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
