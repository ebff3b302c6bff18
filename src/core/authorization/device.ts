/** The device flow (RFC 8628): a program without a browser asks, and a person answers at another device. */
import { fail, failToken } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { hashToken, makeDeviceCode } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { namingInAudit } from '../audit/naming.ts'
import { recordChange } from '../change/record-change.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { DeviceAuthorization, OAuthTokens } from '../oauth/model.ts'
import type { ResourceRow } from '../resources/rows.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import type { BrowserSession } from '../sessions/browser.ts'
import { userAgentOf } from '../sessions/tokens.ts'
import { allowApp, partScopes } from './allow-app.ts'
import { requireGrantType } from './client-authentication.ts'
import { type AskedView, describeAsked, isEverything } from './describe-request.ts'
import {
  allowDevice,
  claimDevice,
  type DeviceRow,
  denyDevice,
  findDevice,
  findDeviceOfSession,
  insertDevice,
  notePoll,
  noteSlowDown,
  useDevice,
} from './device-queries.ts'
import {
  type Basis,
  issueFirstTokens,
  locksOfOpening,
  type OpenedSession,
  openAppSession,
} from './open-session.ts'
import { grantable, readAsked } from './target.ts'
import { asApp, partiesOf } from './tokens.ts'
import { formatUserCode, makeUserCode, readUserCode } from './user-code.ts'

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

/** A person has so long to answer. */
const LASTS_MS = 10 * MINUTE_MS
/** A device asks at most once in so long. */
const INTERVAL_SECONDS = 5
/** By chance, two codes out of 25,600,000,000 are alike. */
const MAX_TRIES = 5

/** What a device asks for, as its form has it. */
export type DeviceRequest = { scope: string | undefined; resource: string | undefined }

/**
 * Begins the flow of a device.
 * @throws Problem unauthorized_client, invalid_target, invalid_scope
 */
export async function beginDevice(
  context: Context,
  origin: Origin,
  client: ClientRow,
  { scope, resource }: DeviceRequest,
): Promise<DeviceAuthorization> {
  requireDeviceClient(client)
  const { target, scopes, identityScopes } = await readAsked(context, client, {
    resource: resource === undefined ? [] : [resource],
    scope,
  })
  const now = context.clock()
  const deviceCode = makeDeviceCode()
  const device = {
    id: newId(),
    hash: hashToken(deviceCode),
    clientId: client.id,
    audience: target.audience,
    resourceId: target.resource?.id ?? null,
    scopes: [...identityScopes, ...(scopes ?? [])],
    ip: origin.ip,
    userAgent: userAgentOf(origin),
    createdAt: new Date(now),
    expiresAt: new Date(now + LASTS_MS),
    intervalSeconds: INTERVAL_SECONDS,
  }
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const userCode = makeUserCode()
    if (!(await insertDevice(context.db, { ...device, userCode }))) continue
    const page = `${context.config.publicUrl}/device`
    const shown = formatUserCode(userCode)
    return {
      device_code: deviceCode,
      user_code: shown,
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${shown}`,
      expires_in: LASTS_MS / SECOND_MS,
      interval: INTERVAL_SECONDS,
    }
  }
  throw new Error('Found no free user code')
}

/** Only a client that an admin registered for it may use the flow. */
function requireDeviceClient(client: ClientRow): void {
  if (client.source !== 'registered') fail('unauthorized_client')
  requireGrantType(client, DEVICE_GRANT)
}

/** What the page says of a device that asks. */
export type DeviceView = AskedView & { userCode: string; startedAt: Date; ip: string | null }

/**
 * What the device of a code asks of a person. The code is bound to their browser session: only from there it is answered.
 * @param text as the person typed it
 * @returns null where no device waits with this code
 * @throws Problem access_denied where the person may allow nothing of it
 */
export async function showDevice(
  context: Context,
  here: BrowserSession,
  text: string,
): Promise<DeviceView | null> {
  const userCode = readUserCode(text)
  const now = new Date(context.clock())
  const id = userCode && (await claimDevice(context.db, userCode, here.session.id, now))
  const found = id && (await findDeviceOfSession(context.db, id, here.session.id, now))
  return found ? viewOf(context, here, found) : null
}

type Found = { device: DeviceRow; client: ClientRow; resource: ResourceRow | null }

/** Which scopes of a device's the person may grant; `scopes`: null: all that they have. */
function askedOf(context: Context, { user }: BrowserSession, { device, client, resource }: Found) {
  const parts = partScopes(device.scopes)
  const isAll = isEverything(device) && client.scopes === null
  const target = { audience: device.audience, resource }
  const asked = { target, ...parts, scopes: isAll ? null : parts.scopes }
  return { ...asked, scopes: grantable(context, client, user, asked) }
}

async function viewOf(context: Context, here: BrowserSession, found: Found): Promise<DeviceView> {
  const { device, client, resource } = found
  const { scopes, identityScopes } = askedOf(context, here, found)
  const request = { ...device, scopes: [...identityScopes, ...(scopes ?? [])] }
  const view = await describeAsked(context, here, { request, client, resource })
  const { createdAt: startedAt, ip } = device
  return {
    ...view,
    isEverything: scopes === null,
    userCode: formatUserCode(device.userCode),
    startedAt,
    ip,
  }
}

/** What became of a person's answer. */
export type DeviceAnswered =
  | { kind: 'allowed' | 'denied' | 'gone' }
  /** Nothing was ticked. */
  | { kind: 'again'; view: DeviceView }

/**
 * Takes a person's answer to a device. All that decides is read from the device's row: the form names the row, and what was
 * ticked.
 * @throws Problem access_denied, invalid_target, unauthorized_client where it changed meanwhile
 */
export async function answerDevice(
  context: Context,
  origin: Origin,
  here: BrowserSession,
  { requestId, isAllowed, ticked }: { requestId: string; isAllowed: boolean; ticked: readonly string[] },
): Promise<DeviceAnswered> {
  const now = new Date(context.clock())
  const sessionId = here.session.id
  const found = isId(requestId) ? await findDeviceOfSession(context.db, requestId, sessionId, now) : null
  if (!found) return { kind: 'gone' }
  const { device, client } = found
  if (!isAllowed)
    return { kind: (await denyDevice(context.db, device.id, sessionId, now)) ? 'denied' : 'gone' }
  if (isEnrolmentDue(context.config, here.user)) return { kind: 'gone' }
  const { target, scopes, identityScopes } = askedOf(context, here, found)
  const offered = [...identityScopes, ...(scopes ?? [])]
  const chosen = offered.filter((scope) => scope === 'openid' || ticked.includes(scope))
  if (chosen.length === 0 && offered.length > 0 && scopes !== null)
    return { kind: 'again', view: await viewOf(context, here, found) }
  const parts = partScopes(chosen)
  const consent = {
    client,
    asked: { target, ...parts, scopes: scopes && parts.scopes },
    mayAnswer: isDeviceClient,
    isAllowed: () => true,
    removed: offered.filter((scope) => !chosen.includes(scope)),
  }
  const isDone = await allowApp(context, origin, here.principal, consent, async ({ tx, now }, allowed) => {
    const { grantId } = allowed
    const allowedScopes = [...allowed.identityScopes, ...(allowed.scopes ?? [])]
    const isOurs = await allowDevice(tx, device.id, sessionId, now, { grantId, allowedScopes })
    return isOurs || fail('conflict')
  })
  return { kind: isDone ? 'allowed' : 'gone' }
}

const isDeviceClient = ({ source, grants }: ClientRow): boolean =>
  source === 'registered' && grants.includes(DEVICE_GRANT)

/**
 * Answers the poll of a device: with tokens, once a person allowed it.
 * @throws Problem authorization_pending, slow_down, access_denied, expired_token; unauthorized_client, invalid_target,
 * invalid_token, mfa_enrolment_required
 */
export async function pollDevice(
  context: Context,
  origin: Origin,
  client: ClientRow,
  deviceCode: string,
): Promise<OAuthTokens> {
  requireDeviceClient(client)
  const found = await findDevice(context.db, hashToken(deviceCode))
  if (found?.device.clientId !== client.id) return failToken()
  const { device, grant, resource } = found
  const now = new Date(context.clock())
  if (device.usedAt !== null) return failToken()
  if (device.deniedAt !== null) fail('access_denied', { detail: 'The person did not allow it.' })
  if (device.expiresAt <= now) fail('expired_token')
  if (grant === null || device.sessionId === null) return refusePoll(context, device.id, now)
  const basis = { client, grant, resource, sessionId: device.sessionId }
  return namingInAudit(partiesOf(grant), () => openForDevice(context, origin, device, basis))
}

/** Opens the session of a device that a person allowed. */
async function openForDevice(
  context: Context,
  origin: Origin,
  device: DeviceRow,
  basis: Basis,
): Promise<OAuthTokens> {
  const { client, grant } = basis
  const { allowedScopes } = device
  const parts = partScopes(allowedScopes ?? [])
  const isAll = isEverything(device) && client.scopes === null
  const wanted = { ...parts, scopes: isAll ? null : parts.scopes, nonce: null }
  const by = asApp(origin, client, { userId: grant.userId, grantId: grant.id })
  const locks = async () => locksOfOpening(basis)
  const opened = await recordChange(
    context,
    by,
    null,
    locks,
    async (change): Promise<OpenedSession | null> => {
      // Of two polls at once, the second finds the code used: the lock of the grant lets one through at a time.
      if (!(await useDevice(change.tx, device.id, change.now))) return null
      return openAppSession(context, change, by, basis, wanted)
    },
  )
  return opened === null ? failToken() : issueFirstTokens(context, opened)
}

/** Answers a poll before the person has answered. */
async function refusePoll(context: Context, id: string, now: Date): Promise<never> {
  if (await notePoll(context.db, id, now)) return fail('authorization_pending')
  if (await noteSlowDown(context.db, id, now)) return fail('slow_down')
  // The person answered meanwhile: the next poll is told.
  return fail('authorization_pending')
}
