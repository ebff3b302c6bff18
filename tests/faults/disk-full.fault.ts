import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { keepAliveClient } from '../support/http-socket.ts'
import { type Bed, startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import type { Checker } from './findings.ts'
import { underLoad } from './load.ts'
import { lacksForSmallDisk, smallDisk } from './small-disk.ts'

/** The embedded database uses about 60 MB from the start, and its log grows by 16 MB at a time. */
const DISK_MB = 300
const LESS_THAN_LOG_MB = 12
const MOST_IMPORTS = 12

/**
 * At first there is room for everything except another piece of the log, and the database ends itself. Then
 * there is no room at all. Then there is room again.
 */
export const fault: Fault = {
  name: 'disk full, embedded',
  roundSeconds: 8,
  isFelt: true,
  lacks: lacksForSmallDisk(),
  async run(rounds) {
    using disk = smallDisk(DISK_MB)
    await using bed = await startBed({ database: 'embedded', directory: join(disk.path, 'data') })
    return await underLoad(bed, async ({ checker, calm, during }) => {
      await repeat(rounds, async () => {
        await calm(500)
        await during({}, async () => {
          disk.fill(LESS_THAN_LOG_MB)
          await importUntilRefused(bed, checker)
          disk.fill(0)
          await calm(1500)
          disk.empty()
        })
      })
      const output = bed.places[0]?.output() ?? ''
      const stops = output.split('the embedded database stopped').length - 1
      checker.note(`the database ended itself and was started again ${stops} times`)
    })
  },
}

async function importUntilRefused(bed: Bed, checker: Checker): Promise<void> {
  const client = keepAliveClient(() => bed.places[0]?.url ?? '')
  const ask = async (...[route, asked]: Parameters<typeof client.send>) => {
    const reply = await client.send(route, { bearer: bed.admin, ...asked })
    checker.hear(route, reply)
    return reply
  }
  const me = await ask('GET /auth/me')
  for (let i = 0; i < MOST_IMPORTS; i++) {
    const keys = Array.from({ length: 300 }, () => ({
      name: 'large',
      owner: { user_id: me.body?.id },
      key: `old-${Bun.randomUUIDv7()}`,
      scopes: [],
      metadata: { text: randomBytes(2900).toString('base64') },
    }))
    const { status, body } = await ask('POST /keys/import', { json: { keys } })
    if (status === 503) break
    if (status !== 200) checker.violate(`an import was answered ${status} ${body?.code}`)
  }
  client.close()
}
