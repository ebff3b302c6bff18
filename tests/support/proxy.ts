import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { listenOnTcp } from './tcp.ts'
import { until } from './until.ts'

const DEPLOY = join(import.meta.dir, '../../deploy')

/**
 * A request as the application received it, byte for byte, because libraries normalise what a test has to
 * see.
 */
export type Seen = {
  startLine: string
  target: string
  /** All header lines, with lower-case names and all of their values. */
  headers: Map<string, string[]>
  head: string
  body: string
}

/** The application behind a proxy. It answers every request with 200, and accepts WebSockets. */
export type Upstream = { port: number; seen: Seen[]; close(): void }

/** Starts an application without any access control, as it may be behind such a proxy. */
export async function startUpstream(): Promise<Upstream> {
  const seen: Seen[] = []
  const server = await listenOnTcp((socket) => {
    let text = ''
    let done = false
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => {
      text += chunk
      const end = text.indexOf('\r\n\r\n')
      if (end === -1 || done) return
      const request = readHead(text.slice(0, end), text.slice(end + 4))
      const length = Number(request.headers.get('content-length')?.[0] ?? 0)
      if (request.body.length < length) return
      done = true
      seen.push(request)
      const isUpgrade = request.headers.has('upgrade')
      const answer = isUpgrade
        ? 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket'
        : 'HTTP/1.1 200 OK\r\nContent-Length: 4'
      socket.write(
        `${answer}\r\nX-Upstream: yes\r\nConnection: ${isUpgrade ? 'Upgrade' : 'close'}\r\n\r\n${isUpgrade ? '' : 'here'}`,
      )
      if (!isUpgrade) socket.end()
    })
  })
  return { port: server.port, seen, close: server.close }
}

function readHead(head: string, body: string): Seen {
  const [startLine = '', ...lines] = head.split('\r\n')
  const headers = new Map<string, string[]>()
  for (const line of lines) {
    const at = line.indexOf(':')
    const name = line.slice(0, at).toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), line.slice(at + 1).trim()])
  }
  return { startLine, target: startLine.split(' ')[1] ?? '', headers, head, body }
}

/** The paths of nginx and Caddy. null if not installed (Debian: apt-get install nginx caddy). */
export const NGINX = Bun.which('nginx', { PATH: `${process.env.PATH}:/usr/sbin` })
export const CADDY = Bun.which('caddy')

/**
 * The parts of Debian's /etc/nginx/nginx.conf around a file in conf.d. All paths are in the test's own
 * directory.
 */
export const nginxAround = (file: string) => `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include ${file};
}
`

/** A running proxy with a recipe of deploy/. */
export type RunningProxy = { url: string; pid: number; log(): Promise<string>; stop(): Promise<void> }

type Recipe = {
  program: 'nginx' | 'caddy'
  /**
   * The file of `deploy/<program>` that the proxy starts with. For nginx, the test may include it in its own
   * file.
   */
  config: string
  /** The test's own files beside the recipe's. */
  files?: Record<string, string>
  /**
   * Texts that occur once in the recipe, and the test's replacements. Most of them are the addresses where
   * the proxy listens.
   */
  changes: readonly (readonly [recipe: string, test: (port: number) => string])[]
  /** Where the proxy listens; a free port unless given. */
  port?: number
}

const PROGRAMS = {
  nginx: { path: NGINX, words: (config: string) => ['-p', '.', '-c', config, '-e', 'stderr'] },
  caddy: { path: CADDY, words: (config: string) => ['run', '--config', config, '--adapter', 'caddyfile'] },
}

/**
 * Starts a proxy with a copy of the files in deploy/, in which only addresses and `changes` differ.
 * @param latchkey the port of Latchkey, or of a server that takes its place
 * @param app the port of the application, if the recipe has one
 * @throws Error if the recipe does not contain a text that is to be changed
 */
export async function startProxy(recipe: Recipe, latchkey: number, app = 0): Promise<RunningProxy> {
  const port = recipe.port ?? (await freePort())
  const directory = mkdtempSync(join(tmpdir(), `latchkey-${recipe.program}-`))
  cpSync(join(DEPLOY, recipe.program), directory, { recursive: true })
  const changes = recipe.changes.map(([from, to]) => ({ from, to: to(port), isMade: false }))
  for (const file of filesIn(directory)) {
    let text = (await Bun.file(file).text())
      .replaceAll('127.0.0.1:8000', `127.0.0.1:${latchkey}`)
      .replaceAll('127.0.0.1:3000', `127.0.0.1:${app}`)
    for (const change of changes) {
      change.isMade ||= text.includes(change.from)
      text = text.replaceAll(change.from, change.to)
    }
    await Bun.write(file, text)
  }
  const missing = changes.find(({ isMade }) => !isMade)
  if (missing) throw new Error(`deploy/${recipe.program} has no ${JSON.stringify(missing.from)}`)
  for (const [name, text] of Object.entries(recipe.files ?? {})) await Bun.write(join(directory, name), text)
  const log = join(directory, 'proxy.log')
  const { path, words } = PROGRAMS[recipe.program]
  const server = Bun.spawn([path ?? recipe.program, ...words(recipe.config)], {
    cwd: directory,
    env: {
      PATH: process.env.PATH ?? '',
      HOME: directory,
      XDG_CONFIG_HOME: directory,
      XDG_DATA_HOME: directory,
    },
    stdout: Bun.file(log),
    stderr: Bun.file(log),
  })
  const stop = async () => {
    server.kill('SIGTERM')
    await server.exited
    rmSync(directory, { recursive: true, force: true })
  }
  const isUp = async () => {
    if (server.exitCode !== null) throw new Error(`${recipe.program} ended: ${await Bun.file(log).text()}`)
    return await canConnect(port)
  }
  await until(isUp, `${recipe.program} listens`).catch(async (error) => {
    await stop()
    throw error
  })
  return { url: `http://127.0.0.1:${port}`, pid: server.pid, log: () => Bun.file(log).text(), stop }
}

const filesIn = (directory: string) =>
  readdirSync(directory, { recursive: true })
    .map((name) => join(directory, String(name)))
    .filter((path) => statSync(path).isFile())

/** Whether a program listens on this port of 127.0.0.1. */
export function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/**
 * Every spelling of a header that some application treats as that header: each dash may be an underscore
 * (CGI, WSGI, Rack).
 */
export function aliasesOf(name: string): string[] {
  const [first = '', ...rest] = name.split('-')
  return rest.reduce<string[]>(
    (made, part) => made.flatMap((head) => [`${head}-${part}`, `${head}_${part}`]),
    [first],
  )
}
