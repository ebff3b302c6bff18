import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { runProgram } from './binary.ts'

const root = resolve(import.meta.dir, '../..')

/** Why this machine cannot build images. null: it can. */
export function whyNoContainers(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
  if (!Bun.which('buildah')) return 'needs buildah: apt-get install buildah'
  const mayMount = Bun.spawnSync(['unshare', '--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).success
  return mayMount ? null : 'needs the right to mount: in a container, a privileged one'
}

/** Images and containers in their own directory, without a container engine and without a registry. */
export type Containers = {
  /** The words that start a buildah command on this directory. */
  buildah: readonly string[]
  /** Runs a buildah command to its end and returns its output. @throws Error with the error output */
  run(...words: string[]): Promise<string>
  /** Makes an image from a directory. */
  imageOf(directory: string, name: string, env: Record<string, string>): Promise<void>
  remove(): Promise<void>
}

/** Opens an empty store of images. */
export function openContainers(): Containers & { directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-containers-'))
  const places = ['--root', join(directory, 'storage'), '--runroot', join(directory, 'run')]
  const buildah = ['buildah', ...places, '--storage-driver', 'vfs']
  const run = async (...words: string[]) => {
    const done = await runProgram([...buildah, ...words], { cwd: root, env: process.env })
    if (done.code !== 0) throw new Error(`buildah ${words[0]} failed:\n${done.out}\n${done.err}`)
    return done.out.trim()
  }
  return {
    directory,
    buildah,
    run,
    async imageOf(content, name, env) {
      const container = await run('from', 'scratch')
      await run('add', '--quiet', container, content, '/')
      const settings = Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`])
      await run('config', ...settings, container)
      await run('commit', '--quiet', container, name)
      await run('rm', container)
    },
    async remove() {
      // Never deletes files on a file system that is still mounted there.
      await runProgram(['rm', '-rf', '--one-file-system', directory], { cwd: '/' })
    },
  }
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Makes the two base images of the Dockerfile from this machine's own files: one to build in, with Bun and a
 * shell, and one to run in, with glibc and nothing else, as in distroless.
 */
export async function makeBaseImages(containers: Containers & { directory: string }): Promise<void> {
  const build = join(containers.directory, 'build')
  await copyPrograms(build, { sh: '/bin/sh', mkdir: '/bin/mkdir', bun: process.execPath })
  const env: Record<string, string> = { PATH }
  const own = process.env.NODE_EXTRA_CA_CERTS
  if (own) {
    cpSync(realpathSync(own), join(build, CERTIFICATES))
    env.NODE_EXTRA_CA_CERTS = CERTIFICATES
  }
  await containers.imageOf(build, 'localhost/base-build', env)

  const final = join(containers.directory, 'final')
  for (const library of await librariesOf(process.execPath)) copyInto(final, library)
  makeSystemDirectories(final)
  await containers.imageOf(final, 'localhost/base-final', { PATH })
}

async function copyPrograms(directory: string, programs: Record<string, string>): Promise<void> {
  makeSystemDirectories(directory)
  for (const [name, path] of Object.entries(programs)) {
    // A container without a merged /usr has its shell in /bin.
    cpSync(realpathSync(path), join(directory, 'bin', name))
    for (const library of await librariesOf(path)) copyInto(directory, library)
  }
}

function makeSystemDirectories(directory: string): void {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'])
    mkdirSync(join(directory, name), { recursive: true })
  writeFileSync(join(directory, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
}

function copyInto(directory: string, path: string): void {
  const target = join(directory, path)
  if (existsSync(target)) return
  mkdirSync(dirname(target), { recursive: true })
  cpSync(realpathSync(path), target)
}

/** The shared libraries that a program is linked to, and its loader. */
async function librariesOf(program: string): Promise<string[]> {
  const { out } = await runProgram(['ldd', program], { cwd: '/', env: { PATH } })
  return [...out.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path)
}
