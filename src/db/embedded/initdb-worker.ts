/** A thread that makes an empty database in the directory that it is told, says so, and is of no more use. */
import { createEngine } from './engine.ts'

declare const self: Worker

self.onmessage = async ({ data: directory }: MessageEvent<string>) => {
  const { pg } = await createEngine(directory)
  await pg.close()
  self.postMessage('made')
}
