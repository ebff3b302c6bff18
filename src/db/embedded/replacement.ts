import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { sync, syncTree } from './sync.ts'

/** The file in DATA_DIR that keeps the SECRET_KEY of the first start. */
export const KEPT_KEY = 'secret_key'
/** The parts of DATA_DIR that are replaced, where the replacement has them. */
const PARTS = [KEPT_KEY, 'database/data']

const stagedIn = (dataDir: string) => join(dataDir, 'replacement.part')
const replacementIn = (dataDir: string) => join(dataDir, 'replacement')
const replacedIn = (dataDir: string) => join(dataDir, 'replaced')

/** Whether a finished replacement waits in DATA_DIR. */
export const hasReplacement = (dataDir: string) => existsSync(replacementIn(dataDir))

/**
 * Prepares a database with its key, which replaces the one in DATA_DIR at the next opening. An interruption
 * leaves DATA_DIR as it was, because the last step is one rename.
 * @param fill fills a directory of the same layout as DATA_DIR, and closes what it opened there
 */
export async function stageReplacement<T>(dataDir: string, fill: (staged: string) => Promise<T>): Promise<T> {
  const staged = stagedIn(dataDir)
  rmSync(staged, { recursive: true, force: true })
  mkdirSync(staged, { recursive: true, mode: 0o700 })
  try {
    const result = await fill(staged)
    syncTree(staged)
    rmSync(replacementIn(dataDir), { recursive: true, force: true })
    renameSync(staged, replacementIn(dataDir))
    sync(dataDir)
    return result
  } catch (error) {
    rmSync(staged, { recursive: true, force: true })
    throw error
  }
}

/**
 * Puts a finished replacement into place, and moves the old files to `DATA_DIR/replaced`. The caller holds
 * the database's lock. Every step may be repeated: after an interruption the next process completes the work.
 */
export function applyReplacement(dataDir: string): void {
  for (const part of PARTS) {
    const [from, to, kept] = [replacementIn(dataDir), dataDir, replacedIn(dataDir)].map((at) =>
      join(at, part),
    )
    if (!from || !to || !kept || !existsSync(from)) continue
    if (existsSync(to)) {
      rmSync(kept, { recursive: true, force: true })
      mkdirSync(dirname(kept), { recursive: true, mode: 0o700 })
      renameSync(to, kept)
      sync(dirname(kept))
    }
    renameSync(from, to)
    sync(dirname(to))
  }
  rmSync(replacementIn(dataDir), { recursive: true })
  sync(dataDir)
}
