/**
 * The yardstick of a log-in: `Bun.password.verify` in as many parallel loops as Latchkey hashes passwords at
 * once: `hash-loop.ts <seconds> <concurrency> <password> <hash>`. Prints the number of checks and the
 * processor time.
 */
import { cpuUsage } from 'node:process'

const [seconds = '1', concurrency = '1', password = '', hash = ''] = process.argv.slice(2)
const before = cpuUsage()
const startedAt = performance.now()
const endsAt = startedAt + Number(seconds) * 1000
let requests = 0
const loop = async () => {
  while (performance.now() < endsAt) {
    if (!(await Bun.password.verify(password, hash))) throw new Error('The password does not fit')
    requests += 1
  }
}
await Promise.all(Array.from({ length: Number(concurrency) }, loop))
const { user, system } = cpuUsage(before)
const took = (performance.now() - startedAt) / 1000
process.stdout.write(JSON.stringify({ requests, seconds: took, processorSeconds: (user + system) / 1e6 }))
