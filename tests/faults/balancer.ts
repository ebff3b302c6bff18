import type { Place } from './bed.ts'

const LOOK_EVERY_MS = 100

/** A balancer of connections that looks at /readyz, as Kubernetes or HAProxy's TCP mode does. */
export type Balancer = {
  /** Where the next connection goes to. */
  pick(): string
  isReady(place: Place): boolean
  stop(): Promise<void>
}

/** Looks every 100 ms at which of the servers are ready, and takes them in turn. */
export async function startBalancer(places: readonly Place[]): Promise<Balancer> {
  let ready = places
  let turn = 0
  let isOn = true
  const isReady = (place: Place) =>
    fetch(`${place.url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
  const look = async () => {
    const seen = await Promise.all(places.map(isReady))
    // Where none is, one is as good as another.
    if (seen.includes(true)) ready = places.filter((_, i) => seen[i])
  }
  await look()
  const looking = (async () => {
    while (isOn) {
      await Bun.sleep(LOOK_EVERY_MS)
      await look()
    }
  })()
  return {
    pick: () => ready[turn++ % ready.length]?.url ?? '',
    isReady: (place) => ready.includes(place),
    async stop() {
      isOn = false
      await looking
    },
  }
}
