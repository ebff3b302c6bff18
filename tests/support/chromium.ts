import { existsSync } from 'node:fs'

/** The path of Chromium; undefined where none is installed. */
export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)

/** What the name of a skipped group says. */
export const WITHOUT_CHROMIUM = CHROMIUM
  ? ''
  : ' (needs Chromium: apt-get update && apt-get install -y chromium)'
