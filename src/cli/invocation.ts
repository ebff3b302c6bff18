import { existsSync, realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { NAME } from './version.ts'

/** How this process was started and from where, as far as another command line depends on it. */
export type Surroundings = {
  /** The program's file: the binary, or Bun itself. */
  executable: string
  /** The script that Bun runs; inside a binary a path that nobody can open. */
  script: string
  directory: string
  /** What a name stands for on the PATH. */
  which(name: string): string | null
  /** The engine that runs the container around this process and the name it has there. */
  container: { exec: string; name: string } | null
}

/** The surroundings of this process. */
export function ownSurroundings(): Surroundings {
  return {
    executable: process.execPath,
    script: Bun.main,
    directory: process.cwd(),
    which: (name) => Bun.which(name),
    container: ownContainer(),
  }
}

/**
 * The line that a person types to run a command on the same database as this process.
 * @example invocation(config, 'admin create --email you@example.com', ownSurroundings())
 */
export function invocation(config: Config, words: string, from: Surroundings): string {
  const line = `${program(from)} ${words}`
  // Inside the container the settings are there already.
  if (from.container) return `${from.container.exec} ${from.container.name} ${line}`
  const isDefault = resolve(from.directory, config.dataDir) === resolve(from.directory, 'data')
  if (config.databaseUrl !== null || isDefault) return line
  return `DATA_DIR=${quote(resolve(from.directory, config.dataDir))} ${line}`
}

function program(from: Surroundings): string {
  if (!existsSync(from.script) || from.script.startsWith('/$bunfs/'))
    return reach(from.executable, NAME, from)
  const atRoot =
    existsSync(join(from.directory, 'package.json')) &&
    resolve(from.script) === join(from.directory, 'src/main.ts')
  const bun = bunCommand(from)
  if (atRoot) return `${bun} run ${NAME}`
  return `${bun} ${quote(nearby(from.script, from.directory))}`
}

/** Whoever came by `npx bun@…` has no Bun of their own. */
function bunCommand(from: Surroundings): string {
  if (/[\\/]_npx[\\/]/.test(from.executable)) return `npx --yes bun@${Bun.version}`
  return reach(from.executable, 'bun', from)
}

/** The bare name where the PATH leads to this very file, else the path. */
function reach(file: string, name: string, from: Surroundings): string {
  const found = from.which(name)
  if (found !== null && isSameFile(found, file)) return name
  return quote(nearby(file, from.directory))
}

function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other)
  } catch {
    return false
  }
}

/** Relative where it lies below the working directory. */
function nearby(file: string, directory: string): string {
  const path = relative(directory, file)
  if (path.startsWith('..')) return file
  return dirname(path) === '.' ? `./${path}` : path
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/**
 * Docker and Podman leave a file behind, Kubernetes its account. Only for the container's own main process: whoever
 * sits in a shell inside needs no engine. The host name is the pod's name, or the container's id unless it was chosen.
 */
function ownContainer(): Surroundings['container'] {
  if (process.pid !== 1) return null
  const host = hostname()
  if (existsSync('/var/run/secrets/kubernetes.io')) return { exec: 'kubectl exec -it', name: `${host} --` }
  const name = /^[0-9a-f]{12}$/.test(host) ? host : '<container>'
  if (existsSync('/run/.containerenv')) return { exec: 'podman exec -it', name }
  return existsSync('/.dockerenv') ? { exec: 'docker exec -it', name } : null
}
