import { parseAddress, parseNetwork } from '../../lib/ip.ts'
import { DAY_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import type { Change } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { wasMailed } from '../mail/queue.ts'
import { findKnownPlaces, updateFirstLogin } from './queries.ts'
import { userAgentOf } from './tokens.ts'

/** How far back a browser or a network is known. Sessions are kept that long (core/housekeeping). */
export const PLACES_LAST_MS = 90 * DAY_MS

type Person = { id: string; email: string; firstLoginAt: Date | null }

/**
 * Notes a sign-in within its transaction, before its session is there: the first one on the user, and of a later one from
 * a browser and a network that were both not seen in 90 days a mail, once a day at most.
 */
export async function noticeSignIn(
  { mail }: Pick<Context, 'mail'>,
  { tx, now, queueMail }: Pick<Change<null>, 'tx' | 'now' | 'queueMail'>,
  origin: Origin,
  { id, email, firstLoginAt }: Person,
): Promise<void> {
  if (firstLoginAt === null) return updateFirstLogin(tx, id, now)
  const network = networkOf(origin.ip)
  if (!mail.isOn || origin.ip === null || network === null) return
  const userAgent = userAgentOf(origin)
  const since = new Date(now.getTime() - PLACES_LAST_MS)
  const known = await findKnownPlaces(tx, id, since, userAgent, network)
  if (known.browser || known.network) return
  if (await wasMailed(tx, id, 'new_sign_in', new Date(now.getTime() - DAY_MS))) return
  const parameters = { ip: origin.ip, user_agent: userAgent ?? 'unknown' }
  await queueMail({ kind: 'new_sign_in', to: email, userId: id, parameters })
}

/** The network that an address most likely keeps when it changes: /24 of IPv4, /48 of IPv6. */
function networkOf(ip: string | null): string | null {
  const address = ip === null ? null : parseAddress(ip)
  return address && parseNetwork(`${address}/${address.kind() === 'ipv4' ? 24 : 48}`)
}
