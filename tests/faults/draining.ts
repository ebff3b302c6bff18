import { until } from '../support/until.ts'
import { startBalancer } from './balancer.ts'
import { type Bed, type Place, startBed } from './bed.ts'
import type { Outcome } from './fault.ts'
import type { Happening } from './findings.ts'
import { type Load, underLoad } from './load.ts'

type OnPlace = (place: Place) => Promise<void>
type Dark = Parameters<Happening>[0]

/**
 * Two servers behind a load balancer. `shutDown` sends SIGTERM and waits for the end of the process; it comes
 * last. `restart` also starts the server again and waits until the balancer has noticed. Any refused or
 * failed request is a violation.
 */
export async function behindBalancer(
  trial: (places: readonly Place[], load: Load & { shutDown: OnPlace; restart: OnPlace }) => Promise<void>,
): Promise<Outcome> {
  await using bed: Bed = await startBed({ servers: 2, env: { SHUTDOWN_DELAY_SECONDS: '1' } })
  const balancer = await startBalancer(bed.places)
  try {
    return await underLoad(
      bed,
      async (load) => {
        /**
         * SIGTERM and the end of the process. After /readyz has changed, the server must receive no new
         * clients.
         */
        const end = async (place: Place, dark: Dark) => {
          const ended = place.end('SIGTERM')
          const saysSo = () =>
            fetch(`${place.url}/readyz`).then(
              ({ status }) => status === 503,
              () => false,
            )
          await until(saysSo, '/readyz says that it is on its way out').catch(({ message }) =>
            load.checker.violate(message),
          )
          await dark(ended)
          if ((await ended) !== 0) load.checker.violate(`it ended with ${await ended}`)
          if (place.output().includes('were cut off')) load.checker.violate('requests were cut off')
        }
        const during = (place: Place, work: Happening) =>
          load.checker.during({ draining: place.url, down: true }, work)
        await trial(bed.places, {
          ...load,
          shutDown: (place) =>
            during(place, async (dark) => {
              await end(place, dark)
              await load.calm(500)
            }),
          restart: (place) =>
            during(place, async (dark) => {
              await end(place, dark)
              await place.start()
              await until(() => balancer.isReady(place), 'the balancer takes it in')
            }),
        })
      },
      { pick: balancer.pick },
    )
  } finally {
    await balancer.stop()
  }
}
