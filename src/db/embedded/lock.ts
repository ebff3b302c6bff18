import { Database } from 'bun:sqlite'

/**
 * Locks `file` for this process until the lock is released or the process ends, also by `kill -9`. The kernel
 * holds the lock; a file with a process id would stay behind after a crash. Bun reaches the kernel's file
 * locks through SQLite.
 * @returns a function that releases the lock, or null if another process holds it
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
