import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { sync } from '../db/embedded/sync.ts'

const OWNER_ONLY = 0o600

/**
 * Writes a file that only its owner can read. The text goes to a second file that is then renamed, so that
 * after a crash the file has either its old or its new content.
 */
export async function writeDurably(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const aside = `${path}.part`
  // An existing file may be a symbolic link that another user created. It must not be followed.
  rmSync(aside, { force: true })
  const file = openSync(aside, 'wx', OWNER_ONLY)
  try {
    try {
      for await (const chunk of chunks) {
        for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at)
      }
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(aside, path)
  } catch (error) {
    rmSync(aside, { force: true })
    throw error
  }
  sync(dirname(path))
}
