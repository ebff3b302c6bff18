import { Type } from '@sinclair/typebox'
import { Elysia, t } from 'elysia'
import type { Context } from '../../core/context.ts'
import { changeKey } from '../../core/keys/change.ts'
import { createKey } from '../../core/keys/create.ts'
import { endPresented, removeKey, revokeKey } from '../../core/keys/end.ts'
import { type KeyQuery, listVisibleKeys } from '../../core/keys/list.ts'
import {
  CreatedKey,
  DEFAULT_OVERLAP_SECONDS,
  KEY_STATUSES,
  Key,
  KeyEnded,
  KeyList,
  KeyPatch,
  NewKey,
  RevokeQuery,
  Rotation,
} from '../../core/keys/model.ts'
import { presentKey, type WholeKey } from '../../core/keys/present.ts'
import { requireKey } from '../../core/keys/reach.ts'
import { endSecret, rotateKey } from '../../core/keys/rotate.ts'
import type { Principal } from '../../core/principal.ts'
import { Usage, UsageQuery } from '../../core/usage/model.ts'
import { describeUsage } from '../../core/usage/usage.ts'
import { failField } from '../../lib/errors.ts'
import { Flag } from '../../lib/model.ts'
import { MAX_OWNER_PAGE, MAX_PAGE } from '../../lib/page.ts'
import { KEYS_READ, KEYS_WRITE } from '../../lib/scopes.ts'
import type { Guard } from '../auth.ts'
import { pageQuery, queryInteger } from '../page.ts'
import { originOf, type RequestState } from '../request-state.ts'

const ListQuery = Type.Object(
  {
    service_account_id: Type.Optional(Type.String({ maxLength: 64 })),
    external_id: Type.Optional(Type.String({ maxLength: 255 })),
    status: Type.Optional(Type.Union(KEY_STATUSES.map((status) => Type.Literal(status as 'active')))),
    user_id: Type.Optional(Type.String({ maxLength: 64, description: 'Admins only' })),
    all: Type.Optional(Flag),
    ...pageQuery,
    limit: t.Optional(
      queryInteger(
        'limit',
        1,
        MAX_OWNER_PAGE,
        `${MAX_OWNER_PAGE} unless given; with all=true at most ${MAX_PAGE}, and ${MAX_PAGE} unless given`,
      ),
    ),
  },
  { additionalProperties: false },
)

const MAX_IDEMPOTENCY_KEY_LENGTH = 255

const reads = { anyone: { scopes: [KEYS_READ] } }
const nothing = { 204: Type.Undefined({ description: 'Done' }) }
const lists = { ...reads, query: ListQuery, response: { 200: KeyList } }
const createErrors = [
  'reauthentication_required',
  'insufficient_scope',
  'quota_exceeded',
  'already_created',
  'not_found',
] as const
const manageErrors = ['not_found', 'forbidden', 'reauthentication_required'] as const

/** The seed's paths, and beside them those that a newcomer would guess; both answer alike. */
export const keyRoutes = (context: Context, guard: Guard) => {
  const recent = context.config.reauthenticateForKeys
  const writes = { anyone: { scopes: [KEYS_WRITE], recent } }
  const takes = { anyone: { scopes: [KEYS_WRITE], recent, json: true } } as const
  const creates = { ...takes, body: NewKey, response: { 201: CreatedKey } }
  const revokes = { ...writes, query: RevokeQuery, response: { 200: KeyEnded } }
  const shown = (key: WholeKey) => presentKey(key, context.clock())
  const create = async (caller: Principal, state: RequestState, input: NewKey): Promise<CreatedKey> => {
    const { row, key } = await createKey(context, originOf(state), caller, input, idempotencyKeyOf(state))
    return { ...shown(row), key }
  }
  const list = async (caller: Principal, query: KeyQuery, set: { headers: Record<string, unknown> }) => {
    const { keys, nextCursor } = await listVisibleKeys(context, caller, query)
    if (nextCursor !== null) set.headers.link = nextLink(query, nextCursor)
    return keys.map(shown)
  }
  const revoke = async (caller: Principal, state: RequestState, id: string, query: RevokeQuery) => {
    const options = { reason: query.reason ?? null, created: query.created === 'true' }
    await revokeKey(context, originOf(state), caller, id, options)
    return { message: 'API key revoked successfully', key_id: id }
  }

  return new Elysia({ prefix: '/keys', tags: ['API keys'] })
    .use(guard)
    .post('/create', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...creates,
      detail: { operationId: 'createKey', summary: 'Make an API key', 'x-errors': createErrors },
    })
    .post('/', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...creates,
      detail: {
        operationId: 'postKey',
        summary: 'Make an API key (same as /keys/create)',
        'x-errors': createErrors,
      },
    })
    .get('/list', ({ auth, query, set }) => list(auth, query, set), {
      ...lists,
      detail: {
        operationId: 'listKeys',
        summary: "The caller's API keys, newest first",
        'x-errors': ['not_found'],
      },
    })
    .get('/', ({ auth, query, set }) => list(auth, query, set), {
      ...lists,
      detail: {
        operationId: 'getKeys',
        summary: "The caller's API keys (same as /keys/list)",
        'x-errors': ['not_found'],
      },
    })
    .delete(
      '/self',
      async ({ auth, state, status }) => {
        await endPresented(context, originOf(state), auth)
        return status(204, undefined)
      },
      {
        anyKey: true,
        response: nothing,
        detail: {
          operationId: 'endOwnKey',
          summary: 'End the key that is shown',
          description: 'Asks for no scope, address, limit or credit: whoever found a leaked key may end it.',
        },
      },
    )
    .get('/:id', async ({ auth, params }) => shown(await requireKey(context, auth, params.id)), {
      ...reads,
      response: { 200: Key },
      detail: { operationId: 'getKey', summary: 'One API key', 'x-errors': ['not_found'] },
    })
    .patch(
      '/:id',
      async ({ auth, body, params, state }) =>
        shown(await changeKey(context, originOf(state), auth, params.id, body)),
      {
        ...takes,
        body: KeyPatch,
        response: { 200: Key },
        detail: {
          operationId: 'changeKey',
          summary: 'Change an API key; null clears',
          'x-errors': [...manageErrors, 'conflict', 'quota_exceeded'],
        },
      },
    )
    .post(
      '/:id/rotate',
      async ({ auth, body, params, state, status }) => {
        const overlap = body?.overlap_seconds ?? DEFAULT_OVERLAP_SECONDS
        const { row, key } = await rotateKey(context, originOf(state), auth, params.id, overlap)
        return status(201, { ...shown(row), key })
      },
      {
        ...takes,
        body: Rotation,
        response: { 201: CreatedKey },
        detail: {
          operationId: 'rotateKey',
          summary: 'Give a key a new secret; the old one works until the overlap ends',
          'x-errors': [...manageErrors, 'conflict'],
        },
      },
    )
    .delete(
      '/:id/secrets/:secret',
      async ({ auth, params, state, status }) => {
        await endSecret(context, originOf(state), auth, params.id, params.secret)
        return status(204, undefined)
      },
      {
        ...writes,
        response: nothing,
        detail: {
          operationId: 'endSecret',
          summary: 'End one of two live secrets early; ending the new one cancels the rotation',
          description:
            'The secret is named by its id, or by its first characters where these name one alone.',
          'x-errors': [...manageErrors, 'conflict'],
        },
      },
    )
    .get(
      '/:id/usage',
      async ({ auth, params, query }) => {
        const key = await requireKey(context, auth, params.id)
        return describeUsage(context, key.id, query)
      },
      {
        ...reads,
        query: UsageQuery,
        response: { 200: Usage },
        detail: {
          operationId: 'getKeyUsage',
          summary: 'How often a key was used, by time and outcome',
          'x-errors': ['not_found'],
        },
      },
    )
    .delete('/revoke/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...revokes,
      detail: {
        operationId: 'revokeKey',
        summary: 'End an API key for good',
        'x-errors': manageErrors,
      },
    })
    .delete('/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...revokes,
      detail: {
        operationId: 'deleteKeyById',
        summary: 'End an API key for good (same as /keys/revoke/{id})',
        'x-errors': manageErrors,
      },
    })
    .delete(
      '/delete/:id',
      async ({ auth, params, state }) => {
        await removeKey(context, originOf(state), auth, params.id)
        return { message: 'API key deleted successfully', key_id: params.id }
      },
      {
        user: { scopes: [KEYS_WRITE], recent },
        response: { 200: KeyEnded },
        detail: {
          operationId: 'removeKey',
          summary: 'Remove an API key; the audit trail stays',
          'x-errors': manageErrors,
        },
      },
    )
}

/** @throws Problem validation_failed */
function idempotencyKeyOf({ request }: RequestState): string | null {
  const value = request.headers.get('idempotency-key')
  if (value === null || (value.length > 0 && value.length <= MAX_IDEMPOTENCY_KEY_LENGTH)) return value
  return failField('Idempotency-Key', `Must have 1 to ${MAX_IDEMPOTENCY_KEY_LENGTH} characters`)
}

/** RFC 8288: the page after this one, relative to the URL that was asked for: a proxy may have added to its path. */
function nextLink(query: KeyQuery, cursor: string): string {
  const next = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...query, cursor }))
    if (value !== undefined) next.set(name, String(value))
  return `<?${next}>; rel="next"`
}
