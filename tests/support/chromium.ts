import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** The path of Chromium; undefined where none is installed. */
export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)

/** What the name of a skipped group says. */
export const WITHOUT_CHROMIUM = CHROMIUM
  ? ''
  : ' (needs Chromium: apt-get update && apt-get install -y chromium)'

/** As root Chromium has no sandbox to give; it sees nothing here but our own pages. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] })

let launched: Promise<Browser> | null = null

/**
 * The Chromium of this process, for all of its test files: a start costs a second. A file closes the contexts that
 * it opens, and never the browser, which ends with the process.
 */
export async function sharedChromium(): Promise<Browser> {
  if (launched && !(await launched).isConnected()) launched = null
  launched ??= launchChromium()
  return launched
}
