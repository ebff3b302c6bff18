const EVERY_MS = 10

/**
 * Waits for a condition. Checks it every 10 ms, and at least `timeoutMs` / 10 times: on a busy machine the
 * time may pass without a chance for the condition to become true.
 * @throws Error if the condition is not true within `timeoutMs`
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 20_000,
): Promise<void> {
  const end = performance.now() + timeoutMs
  for (let asked = 0; !(await condition()); asked++) {
    if (performance.now() > end && asked >= timeoutMs / EVERY_MS)
      throw new Error(`Within ${timeoutMs} ms it did not come true: ${what}`)
    await Bun.sleep(EVERY_MS)
  }
}
