import { behindBalancer } from './draining.ts'
import type { Fault } from './fault.ts'

/** One of two servers is told to end. No client behind the load balancer notices. */
export const fault: Fault = {
  name: 'SIGTERM',
  roundSeconds: 40,
  isFelt: false,
  run: () =>
    behindBalancer(async ([first], { calm, shutDown }) => {
      await calm(700)
      if (first) await shutDown(first)
    }),
}
