const EVERY_MS = 10

/**
 * Waits for a condition, asking every 10 ms, and `timeoutMs` / 10 times at least: where the machine is busy with something
 * else, the time goes by without a chance for the condition to come true.
 * @throws Error where it does not hold within `timeoutMs`
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 2000,
): Promise<void> {
  const end = performance.now() + timeoutMs
  for (let asked = 0; !(await condition()); asked++) {
    if (performance.now() > end && asked >= timeoutMs / EVERY_MS)
      throw new Error(`Within ${timeoutMs} ms it did not come true: ${what}`)
    await Bun.sleep(EVERY_MS)
  }
}
