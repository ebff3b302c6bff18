import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { AdminPrincipal, Operator } from '../principal.ts'
import type { NewClientSecret, OAuthClientWithSecret } from './model.ts'
import { presentClient } from './present.ts'
import {
  deleteClientSecret,
  deleteEndedSecrets,
  insertClientSecret,
  listLiveSecrets,
  updateSecretEnds,
} from './queries.ts'

const PREFIX = 'cs_'
const DEFAULT_OVERLAP_SECONDS = 86_400

/** A new secret, with its row but for client and time. The text is shown once. */
export function makeClientSecret() {
  const text = makeApiKey(PREFIX)
  return { text, row: { id: newId(), hash: hashToken(text), start: startOf(text, PREFIX) } }
}

/**
 * Gives a confidential client another secret. The present one works until the end of the overlap.
 * @throws Problem not_found; conflict for a public client, and while two secrets are live
 */
export async function addClientSecret(
  context: Context,
  origin: Origin,
  caller: AdminPrincipal | Operator,
  id: string,
  { overlap_seconds: overlapSeconds = DEFAULT_OVERLAP_SECONDS }: NewClientSecret,
): Promise<OAuthClientWithSecret> {
  if (!isId(id)) fail('not_found')
  const secret = makeClientSecret()
  const client = await recordChange(
    context,
    origin,
    caller,
    [['clients', id, 'no key update']],
    async ({ tx, held, now, record }) => {
      const client = held.clients.get(id) ?? fail('not_found')
      if (client.kind === 'public') fail('conflict', { detail: 'A public client has no secret.' })
      const live = await listLiveSecrets(tx, [id], now)
      if (live.length > 1)
        fail('conflict', {
          detail: 'Two secrets are live: end one of them, or wait for the end of the overlap.',
        })
      // The stronger lock first.
      await deleteEndedSecrets(tx, id, now, overlapSeconds === 0)
      await updateSecretEnds(tx, id, new Date(now.getTime() + overlapSeconds * 1000))
      await insertClientSecret(tx, { ...secret.row, clientId: id, createdAt: now })
      await record({
        action: 'client.secret_created',
        target: { type: 'client', id },
        details: { secret_id: secret.row.id, start: secret.row.start, overlap_seconds: overlapSeconds },
      })
      return client
    },
  )
  return { ...(await presentClient(context, client)), secret: secret.text }
}

/**
 * Ends a secret at once, also the last one. Sessions go on; the next refresh needs a live one.
 * @throws Problem not_found, also where the secret has ended
 */
export async function endClientSecret(
  context: Context,
  origin: Origin,
  caller: AdminPrincipal | Operator,
  id: string,
  secretId: string,
): Promise<void> {
  if (!isId(id) || !isId(secretId)) fail('not_found')
  await recordChange(
    context,
    origin,
    caller,
    [['clients', id, 'no key update']],
    async ({ tx, held, now, record }) => {
      if (!held.clients.has(id)) fail('not_found')
      const live = await listLiveSecrets(tx, [id], now)
      const { start } = live.find((secret) => secret.id === secretId) ?? fail('not_found')
      await deleteClientSecret(tx, secretId)
      await record({
        action: 'client.secret_ended',
        target: { type: 'client', id },
        details: { secret_id: secretId, start },
      })
    },
  )
}
