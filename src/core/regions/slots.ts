import type { Context } from '../context.ts'
import { listRegionSlots } from './queries.ts'

/** Looks how far the regions are behind, for /metrics. */
export async function lookAtSlots({ db, metrics }: Pick<Context, 'db' | 'metrics'>): Promise<void> {
  const slots = await listRegionSlots(db)
  metrics.slots = slots.map(({ name, wal_status, bytes_behind }) => ({
    slot: name,
    walStatus: wal_status ?? 'unknown',
    bytesBehind: bytes_behind ?? 0,
  }))
}
