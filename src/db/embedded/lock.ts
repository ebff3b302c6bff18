import { Database } from 'bun:sqlite'

/**
 * Takes `file` for this process alone, until the release or the process's end, `kill -9` included: the kernel holds
 * it, not a pid in a file. SQLite is how Bun reaches the kernel's file locks.
 * @returns the release, or null when somebody else has it
 */
export function lockFile(file: string): (() => void) | null {
  const lock = new Database(file, { create: true })
  try {
    lock.run('BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    if (error instanceof Error && 'code' in error && error.code === 'SQLITE_BUSY') return null
    throw error
  }
  return () => lock.close()
}
