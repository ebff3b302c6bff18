import { isPercentEncoded } from './network.ts'
import { type Parsed, quote } from './reader.ts'

const SMTP_FORM =
  'must be a URL such as smtp://USER:PASSWORD@mail.example.com:587 or smtps://mail.example.com'

/** A mail server: host, port, and where it asks for them a user and a password. Its faults never repeat a value. */
export function parseSmtpUrl(found: string): Parsed<string> {
  const url = /^smtps?:\/\//i.test(found) ? URL.parse(found) : null
  if (!url || url.hostname === '' || (url.pathname !== '' && url.pathname !== '/'))
    return { fault: SMTP_FORM }
  if (found.includes('?') || found.includes('#')) return { fault: 'must have no query and no fragment' }
  if (!isPercentEncoded(url.username) || !isPercentEncoded(url.password)) {
    return { fault: 'must have a % in its user or password written as %25' }
  }
  if ((url.username === '') !== (url.password === ''))
    return { fault: 'must have both a user and a password, or neither' }
  return { value: found }
}

const ADDRESS = /^[^\s@<>",;:\\]{1,64}@[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i
/** A name before an address: no quotes, no angle brackets, and no control characters, which could add a header. */
const NAMED = /^([^<>"\p{Cc}]{1,100}) <([^<>]{3,254})>$/u

/** One address, with or without a name: `Example <no-reply@example.com>`. */
export function parseMailFrom(found: string): Parsed<string> {
  const [, , address = found] = NAMED.exec(found) ?? []
  if (ADDRESS.test(address)) return { value: found }
  return {
    fault: `must be one address such as no-reply@example.com or Example <no-reply@example.com>, not ${quote(found)}`,
  }
}

/** 1 to 50 characters that can be seen. */
export function parseBrandName(found: string): Parsed<string> {
  if ([...found].length <= 50 && !/\p{Cc}/u.test(found)) return { value: found }
  return { fault: `must be 1 to 50 characters without control characters, not ${quote(found)}` }
}

export function parseBrandAccent(found: string): Parsed<string> {
  if (/^#[0-9a-f]{6}$/i.test(found)) return { value: found.toLowerCase() }
  return { fault: `must be a colour such as #3355aa, not ${quote(found)}` }
}
