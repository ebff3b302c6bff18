import { join } from 'node:path'
import { compare } from './compare.ts'
import type { Comparison, RunOptions } from './entry.ts'
import { checkAnswer, type Latchkey, startLatchkey } from './latchkey.ts'
import type { LoadRequest } from './load.ts'
import { startServerProcess } from './process.ts'

/** Compares a protected route with bare Elysia that is asked the same and answers the same body. */
export async function compareProtectedRoute(
  requestOf: (latchkey: Latchkey) => LoadRequest,
  options: RunOptions,
): Promise<Comparison> {
  const latchkey = await startLatchkey()
  const request = requestOf(latchkey)
  const body = await checkAnswer(latchkey, request)
  const program = join(import.meta.dir, 'bare.ts')
  const bare = await startServerProcess([process.execPath, program, request.path, body], {})
  try {
    return await compare({ server: latchkey, request }, { server: bare, request }, options)
  } finally {
    await bare.stop()
    await latchkey.stop()
  }
}
