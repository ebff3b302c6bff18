import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import type { TestService } from './service.ts'
import { until } from './until.ts'

/** A real proxy before a service, with the settings that are shipped in `deploy/`. */
export type Front = { url: string; stop(): Promise<void> }

/** Where they are; null where one is not installed (Debian: apt-get install nginx caddy). */
export const NGINX = Bun.which('nginx', { PATH: `${process.env.PATH}:/usr/sbin` })
export const CADDY = Bun.which('caddy')

const deploy = join(import.meta.dir, '../../deploy')

/** Starts nginx as `deploy/nginx/behind-a-proxy.conf` says, without TLS, and with a second for headers. */
export async function startNginx(service: Pick<TestService, 'url'>): Promise<Front> {
  const port = await freePort()
  const home = mkdtempSync(join(tmpdir(), 'latchkey-nginx-'))
  const site = change(await Bun.file(join(deploy, 'nginx/behind-a-proxy.conf')).text(), [
    ['server 127.0.0.1:8000;', `server ${new URL(service.url).host};`],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${port};`],
    ['    ssl_certificate /etc/ssl/auth.example.com.pem;\n', ''],
    ['    ssl_certificate_key /etc/ssl/auth.example.com.key;\n', ''],
    ['listen 80;', `listen unix:${home}/plain.sock;`],
    ['client_header_timeout 10s;', 'client_header_timeout 1s;'],
  ])
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const paths = kinds.map((kind) => `${kind}_temp_path ${home}/${kind};`).join('\n')
  for (const kind of kinds) mkdirSync(join(home, kind))
  const user = process.getuid?.() === 0 ? 'user root;\n' : ''
  const conf = `${user}pid ${home}/pid;\nerror_log ${home}/error.log;\nevents {}\nhttp {\naccess_log off;\n${paths}\n${site}}\n`
  writeFileSync(join(home, 'nginx.conf'), conf)
  const command = [
    NGINX ?? 'nginx',
    '-e',
    `${home}/error.log`,
    '-c',
    `${home}/nginx.conf`,
    '-g',
    'daemon off; master_process off;',
  ]
  return start(command, home, port)
}

/** Starts Caddy as `deploy/caddy/behind-a-proxy.Caddyfile` says, without TLS, and with a second for headers. */
export async function startCaddy(service: Pick<TestService, 'url'>): Promise<Front> {
  const port = await freePort()
  const home = mkdtempSync(join(tmpdir(), 'latchkey-caddy-'))
  const file = change(await Bun.file(join(deploy, 'caddy/behind-a-proxy.Caddyfile')).text(), [
    ['{\n\tservers {', '{\n\tadmin off\n\tservers {'],
    ['\nauth.example.com {', `\nhttp://127.0.0.1:${port} {\n\tbind 127.0.0.1`],
    ['reverse_proxy 127.0.0.1:8000 {', `reverse_proxy ${new URL(service.url).host} {`],
    ['read_header 10s', 'read_header 1s'],
  ])
  writeFileSync(join(home, 'Caddyfile'), file)
  return start(
    [CADDY ?? 'caddy', 'run', '--config', join(home, 'Caddyfile'), '--adapter', 'caddyfile'],
    home,
    port,
  )
}

/** Replaces each of the texts, which has to be there. */
function change(text: string, changes: [from: string, to: string][]): string {
  return changes.reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`The shipped file has no ${JSON.stringify(from)}`)
    return changed.replace(from, to)
  }, text)
}

async function start(command: string[], home: string, port: number): Promise<Front> {
  const env = { PATH: process.env.PATH ?? '', HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home }
  const child = Bun.spawn(command, {
    env,
    cwd: home,
    stdout: 'ignore',
    stderr: Bun.file(join(home, 'stderr')),
  })
  process.once('exit', () => child.kill('SIGKILL'))
  await until(() => accepts(port), `${command[0]} listens`, 10_000).catch(async (error) => {
    throw new Error(`${error.message}\n${await Bun.file(join(home, 'stderr')).text()}`)
  })
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGKILL')
      await child.exited
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
  }).finally(() => socket.destroy())
}
