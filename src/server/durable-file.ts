import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { sync } from '../db/embedded/sync.ts'

const OWNER_ONLY = 0o600

/**
 * Writes a file that its owner alone can read: aside, then renamed, so that a crash leaves the whole file or what was
 * there before.
 */
export async function writeDurably(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const aside = `${path}.part`
  // Never through a link that lies there.
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
