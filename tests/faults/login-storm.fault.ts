import { OWASP_COST } from '../../src/core/passwords/hasher.ts'
import { keepAliveClient } from '../support/http-socket.ts'
import { addPerson, hashPassword } from '../support/people.ts'
import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'
import { fireLogins, strangers } from './logins.ts'

const LOGINS = 240
const LIMIT_MS = 1000
const STATUSES = [200, 401, 503]

/** Ten times more log-ins at once than can be hashed in a second. Verification must not become slower. */
export const fault: Fault = {
  name: `${LOGINS} logins at once`,
  roundSeconds: 7,
  isFelt: true,
  isBusy: true,
  async run(rounds) {
    await using bed = await startBed({ env: { PASSWORD_HASH_CONCURRENCY: '1' } })
    const url = bed.places[0]?.url ?? ''
    const known: string[] = []
    const hash = await hashPassword(OWASP_COST)
    for (let i = 0; i < LOGINS / 2; i++) known.push((await addPerson(bed.sql, { hash })).email)
    // Every second log-in is for an unknown account, which must cost the same time.
    const emails = strangers(LOGINS / 2).flatMap((stranger, i) => [stranger, known[i] ?? stranger])
    return await underLoad(bed, async ({ checker, calm, during }) => {
      const seen = new Map<number, number>()
      const verifyMs: number[] = []
      const verify = async (isOn: () => boolean) => {
        const client = keepAliveClient(() => url)
        while (isOn()) {
          const reply = await client.send('POST /keys/verify', {
            apiKey: bed.verifier,
            json: { key: bed.verifier, cost: 0 },
          })
          verifyMs.push(reply.ms)
          if (reply.body?.valid !== true) checker.violate(`a verification was answered ${reply.status}`)
          await Bun.sleep(5)
        }
        client.close()
      }
      const storm = async () => {
        await calm(500)
        await during({}, async () => {
          let isOn = true
          const verifying = verify(() => isOn)
          for (const { status } of await fireLogins(bed, checker, emails))
            seen.set(status, (seen.get(status) ?? 0) + 1)
          isOn = false
          await verifying
        })
      }
      await repeat(rounds, storm)
      const missing = () => STATUSES.filter((status) => !seen.has(status))
      // A busy machine may check a single password in a storm.
      for (let more = 0; more < 5 && missing().length > 0; more++) await storm()
      for (const status of seen.keys())
        if (!STATUSES.includes(status)) checker.violate(`a login was answered ${status}`)
      for (const status of missing()) checker.violate(`no login was answered ${status}`)
      verifyMs.sort((a, b) => a - b)
      const [p99 = 0, longest = 0] = [verifyMs[Math.floor(verifyMs.length * 0.99)], verifyMs.at(-1)]
      if (longest > LIMIT_MS + checker.findings().controlMs)
        checker.delay(`a verification took ${Math.round(longest)} ms`)
      const counts = [...seen].map(([status, n]) => `${n} × ${status}`).sort()
      checker.note(`logins ${counts.join(', ')}; verification p99 ${Math.round(p99)} ms`)
    })
  },
}
