/**
 * Waits for a condition, asking every 10 ms.
 * @throws Error where it does not hold within `timeoutMs`
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 2000,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Within ${timeoutMs} ms it did not come true: ${what}`)
    await Bun.sleep(10)
  }
}
