import type { Log } from '../lib/log.ts'
import type { DatabaseConfig, OpenDatabase } from './open.ts'

export async function openEmbedded(_config: DatabaseConfig, _log: Log): Promise<OpenDatabase> {
  throw new Error('to come')
}
