import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { sync, syncTree } from './sync.ts'

/** The file in DATA_DIR with the SECRET_KEY that the first start made. */
export const KEPT_KEY = 'secret_key'
/** What of DATA_DIR is replaced, as far as the replacement has it. */
const PARTS = [KEPT_KEY, 'database/data']

const stagedIn = (dataDir: string) => join(dataDir, 'replacement.part')
const replacementIn = (dataDir: string) => join(dataDir, 'replacement')
const replacedIn = (dataDir: string) => join(dataDir, 'replaced')

/** Whether a finished replacement waits. */
export const hasReplacement = (dataDir: string) => existsSync(replacementIn(dataDir))

/**
 * Makes the database, and its key, that are to take the place of those in DATA_DIR at the next opening. Cut at any moment
 * it leaves DATA_DIR as it was: the last step is one rename.
 * @param fill fills a directory of the same form as DATA_DIR, and has closed what it opened there
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
 * Moves a finished replacement into its place, and what was there to `DATA_DIR/replaced`. The caller holds the database's
 * lock. Each step may come twice: a process that ended in between has its work done by the next one.
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
