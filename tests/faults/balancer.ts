import type { Place } from './bed.ts'

const LOOK_EVERY_MS = 100

/** A load balancer of connections that reads /readyz, as Kubernetes or HAProxy's TCP mode does. */
export type Balancer = {
  /** The server for the next connection. */
  pick(): string
  isReady(place: Place): boolean
  stop(): Promise<void>
}

/** Reads /readyz of each server every 100 ms, and gives connections to the ready servers in turn. */
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
    // If no server is ready, the previous list stays.
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
