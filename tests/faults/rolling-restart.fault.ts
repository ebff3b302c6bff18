import { behindBalancer } from './draining.ts'
import { type Fault, repeat } from './fault.ts'

/** One server after the other ends and starts again. */
export const fault: Fault = {
  name: 'rolling restart of two servers',
  roundSeconds: 5,
  isFelt: false,
  run: (rounds) =>
    behindBalancer((places, { calm, restart }) =>
      repeat(rounds, async () => {
        for (const place of places) {
          await restart(place)
          await calm(300)
        }
      }),
    ),
}
