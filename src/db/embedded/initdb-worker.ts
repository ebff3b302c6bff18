/**
 * A worker thread that creates an empty database in the directory that it receives, and reports when it is
 * done.
 */
import { createEngine } from './engine.ts'

declare const self: Worker

self.onmessage = async ({ data: directory }: MessageEvent<string>) => {
  const { pg } = await createEngine(directory)
  await pg.close()
  self.postMessage('made')
}
