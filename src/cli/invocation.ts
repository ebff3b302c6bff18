import { existsSync, realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { NAME } from './version.ts'

/** How and from where this process was started, as far as the spelling of a command line depends on it. */
export type Surroundings = {
  /** The file of the program: the binary, or Bun. */
  executable: string
  /** The script that Bun runs. Inside a binary this is a virtual path. */
  script: string
  directory: string
  /** Finds a program on the PATH. */
  which(name: string): string | null
  /** The program that runs the container of this process, and the container's name. */
  container: { exec: string; name: string } | null
}

/** Describes how the current process was started. */
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
 * Writes the command line that runs a command on the database of this process.
 * @example invocation(config, 'admin create --email you@example.com', ownSurroundings())
 */
export function invocation(config: Config, words: string, from: Surroundings): string {
  const line = `${program(from)} ${words}`
  // Inside the container the settings are already in the environment.
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

/** A process that was started by `npx bun@…` may have no `bun` on the PATH. */
function bunCommand(from: Surroundings): string {
  if (/[\\/]_npx[\\/]/.test(from.executable)) return `npx --yes bun@${Bun.version}`
  return reach(from.executable, 'bun', from)
}

/** The bare name if the PATH finds this file by that name, else the path. */
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

/** The path, relative if the file is below the working directory. */
function nearby(file: string, directory: string): string {
  const path = relative(directory, file)
  if (path.startsWith('..')) return file
  return dirname(path) === '.' ? `./${path}` : path
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/**
 * Docker and Podman create a marker file, Kubernetes mounts a service account. Checked only in the
 * container's main process: a person in a shell inside the container can run a command directly. The host
 * name is the name of the pod, or by default the id of the container.
 */
function ownContainer(): Surroundings['container'] {
  if (process.pid !== 1) return null
  const host = hostname()
  if (existsSync('/var/run/secrets/kubernetes.io')) return { exec: 'kubectl exec -it', name: `${host} --` }
  const name = /^[0-9a-f]{12}$/.test(host) ? host : '<container>'
  if (existsSync('/run/.containerenv')) return { exec: 'podman exec -it', name }
  return existsSync('/.dockerenv') ? { exec: 'docker exec -it', name } : null
}
