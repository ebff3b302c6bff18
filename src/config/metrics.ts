import type { Secret } from '../lib/secret.ts'
import type { Reader } from './reader.ts'
import { weaknessOf } from './secrets.ts'

const MIN_BYTES = 16
/** RFC 6750, section 2.1: what can stand after "Bearer". */
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/
const MAKE_METRICS_TOKEN = 'openssl rand -hex 24'

/** The token that a scrape of /metrics shows. */
export function readMetricsToken(read: Reader): Secret | null {
  const token = read.secret('METRICS_TOKEN')
  if (token === null) return null
  const text = token.reveal()
  const weakness = weaknessOf(text, MIN_BYTES)
  if (weakness) read.fault(`METRICS_TOKEN ${weakness}; make one with: ${MAKE_METRICS_TOKEN}`)
  else if (text === text.trim() && !BEARER_TOKEN.test(text)) {
    read.fault('METRICS_TOKEN must consist of A-Z a-z 0-9 . _ ~ + / - and, at its end, =')
  }
  return token
}
