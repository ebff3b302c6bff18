import type { Context } from '../context.ts'
import { listSlots } from './queries.ts'

/** Looks how far the regions are behind, for /metrics. */
export async function lookAtSlots({ db, metrics }: Pick<Context, 'db' | 'metrics'>): Promise<void> {
  metrics.slots = await listSlots(db)
}
