import { Elysia } from 'elysia'
import type { Context } from '../../context.ts'
import type { Guard } from '../../http/auth.ts'
import { originOf, type RequestState } from '../../http/request-state.ts'
import { KEYS_READ, KEYS_WRITE } from '../../lib/scopes.ts'
import type { Principal } from '../verify/principal.ts'
import { CreatedKey, KeyEnded, KeyList, KeyQuery, NewKey, RevokeQuery } from './model.ts'
import {
  createKey,
  listOwnKeys,
  type NewKey as NewKeyInput,
  presentKey,
  removeKey,
  revokeKey,
} from './service.ts'

/** The seed's paths, and beside them those that a newcomer would guess; both answer alike. */
export const keyRoutes = (context: Context, guard: Guard) => {
  const create = async (caller: Principal, state: RequestState, input: NewKeyInput) => {
    const { row, key } = await createKey(context, originOf(state), caller, input)
    return { ...presentKey(row), key }
  }
  const list = async (caller: Principal, query: { service_account_id?: string }) =>
    (await listOwnKeys(context, caller, query.service_account_id)).map(presentKey)
  const revoke = async (
    caller: Principal,
    state: RequestState,
    id: string,
    query: { reason?: string; created?: string },
  ) => {
    await revokeKey(context, originOf(state), caller, id, {
      reason: query.reason ?? null,
      created: query.created === 'true',
    })
    return { message: 'API key revoked successfully', key_id: id }
  }
  const creates = { anyone: { scopes: [KEYS_WRITE] }, body: NewKey, response: { 201: CreatedKey } }
  const lists = { anyone: { scopes: [KEYS_READ] }, query: KeyQuery, response: { 200: KeyList } }
  const revokes = { anyone: { scopes: [KEYS_WRITE] }, query: RevokeQuery, response: { 200: KeyEnded } }

  return new Elysia({ prefix: '/keys', tags: ['API keys'] })
    .use(guard)
    .post('/create', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...creates,
      detail: { operationId: 'createKey', summary: 'Make an API key' },
    })
    .post('/', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...creates,
      detail: { operationId: 'postKey', summary: 'Make an API key (same as /keys/create)' },
    })
    .get('/list', ({ auth, query }) => list(auth, query), {
      ...lists,
      detail: { operationId: 'listKeys', summary: "The caller's API keys, newest first" },
    })
    .get('/', ({ auth, query }) => list(auth, query), {
      ...lists,
      detail: { operationId: 'getKeys', summary: "The caller's API keys (same as /keys/list)" },
    })
    .delete('/revoke/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...revokes,
      detail: { operationId: 'revokeKey', summary: 'End an API key for good' },
    })
    .delete('/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...revokes,
      detail: {
        operationId: 'deleteKeyById',
        summary: 'End an API key for good (same as /keys/revoke/{id})',
      },
    })
    .delete(
      '/delete/:id',
      async ({ auth, params, state }) => {
        await removeKey(context, originOf(state), auth, params.id)
        return { message: 'API key deleted successfully', key_id: params.id }
      },
      {
        user: true,
        response: { 200: KeyEnded },
        detail: { operationId: 'removeKey', summary: 'Remove an API key; the audit trail stays' },
      },
    )
}
