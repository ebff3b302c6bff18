import { expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtBinary, emptyDirectory, startProgram } from '../support/binary.ts'
import { call } from '../support/client.ts'
import { PROGRAM } from '../support/program.ts'

const TIMEOUT_MS = 480_000
/** A busy machine gives some memory back late. */
const ATTEMPTS = 3
/** A first start that makes the database in its own thread needs 1.8 times (from a snapshot) or 3.7 times (by initdb) as much. */
const MOST = 1.25

/** The memory of a server that has just begun to serve, in MB (10^6 bytes). */
async function residentAfterStart(command: readonly string[], cwd: string): Promise<number> {
  await using server = await startProgram([...command, 'serve'], { cwd })
  expect((await call(server, 'GET /readyz')).status).toBe(200)
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]
  await server.end('SIGTERM')
  return (Number(kibibytes) * 1024) / 1e6
}

// Only Linux reports the memory of a process in a file.
for (const program of process.platform === 'linux' ? ['source', 'binary'] : []) {
  test(
    `the first start of the ${program} on an embedded database holds at most a quarter more memory than the second`,
    async () => {
      const command = program === 'binary' ? [await builtBinary()] : PROGRAM
      let least = Infinity
      for (let attempt = 0; attempt < ATTEMPTS && least >= MOST; attempt++) {
        using here = emptyDirectory()
        const first = await residentAfterStart(command, here.path)
        expect(existsSync(join(here.path, 'data/database/data/PG_VERSION'))).toBe(true)
        const second = await residentAfterStart(command, here.path)
        process.stderr.write(
          `embedded, ${program}: ${first.toFixed(0)} MB at first, ${second.toFixed(0)} MB then\n`,
        )
        // The engine alone needs more than that, so the figures are those of the server.
        expect(second).toBeGreaterThan(100)
        least = Math.min(least, first / second)
      }
      expect(least).toBeLessThan(MOST)
    },
    TIMEOUT_MS,
  )
}
