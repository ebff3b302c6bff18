import { keepAliveClient } from '../support/http-socket.ts'
import { until } from '../support/until.ts'
import { type Account, openAccount } from './account.ts'
import type { Bed } from './bed.ts'
import { type Checker, createChecker, type Excuse, type Findings, type Happening } from './findings.ts'
import { inForm } from './form.ts'

/** A client's pause between two requests. In the short form the processor has time for what is tried beside. */
const paceMs = () => inForm(10, 40)
const WATCH_EVERY_MS = 50
/** A round ends after this time without a refusal. Each refusal that comes too late is told by itself. */
const QUIET_MS = 700

/** A load during which a fault may be tried. */
export type Load = {
  checker: Checker
  /** Continues without a fault. */
  calm(ms: number): Promise<void>
  /** Runs a fault, and continues until all requests succeed again. */
  during(excuse: Excuse, fault: Happening): Promise<void>
}

type Options = {
  clients?: number
  /** The server for a new connection. Absent: the first one. */
  pick?: () => string
  /** Whether every request uses a new connection. */
  roams?: boolean
}

/**
 * Runs `trial` while clients use the service and /livez and /readyz are watched. Then checks everything that
 * was acknowledged.
 */
export async function underLoad(
  bed: Bed,
  trial: (load: Load) => Promise<void>,
  { clients = 8, pick = () => bed.places[0]?.url ?? '', roams = false }: Options = {},
): Promise<Findings & { writes: number }> {
  const checker = createChecker()
  const accounts: Account[] = []
  while (accounts.length < clients) accounts.push(await openAccount(bed, checker, pick))
  let isOn = true
  const busy = accounts.map(async (account) => {
    while (isOn) {
      await account.step()
      if (roams) account.close()
      await Bun.sleep(paceMs() * (0.5 + Math.random()))
    }
  })
  const watching = watch(bed, checker, () => isOn)

  const during: Load['during'] = async (excuse, fault) => {
    await checker.during(excuse, fault)
    const overAt = performance.now()
    const isServed = () => accounts.every(({ lastWriteAt }) => lastWriteAt() > overAt)
    const isQuiet = () => isServed() && checker.quietMs() > QUIET_MS
    await until(isQuiet, 'every request succeeds again').catch((error: Error) =>
      checker.violate(error.message),
    )
  }
  try {
    await trial({ checker, calm: Bun.sleep, during })
  } finally {
    isOn = false
    await Promise.all([...busy, ...watching])
  }
  await Promise.all(accounts.map((account) => account.audit()))
  for (const { close } of accounts) close()
  const writes = accounts.reduce((sum, account) => sum + account.writes(), 0)
  return { ...checker.findings(), writes }
}

/** Requests /livez and /readyz of each server, on one connection each. */
function watch(bed: Bed, checker: Checker, isOn: () => boolean): Promise<void>[] {
  const asking = async (url: string, path: string, hear: Checker['hearLive']) => {
    const client = keepAliveClient(() => url)
    while (isOn()) {
      hear(await client.send(`GET ${path}`))
      await Bun.sleep(WATCH_EVERY_MS)
    }
    client.close()
  }
  return bed.places.flatMap(({ url }) => [
    asking(url, '/livez', checker.hearLive),
    asking(url, '/readyz', checker.hearReady),
  ])
}
