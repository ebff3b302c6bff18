import { Type } from '@sinclair/typebox'
import { Elysia, t } from 'elysia'
import type { Context } from '../../core/context.ts'
import type { ExportPage } from '../../core/exports/exports.ts'
import { changeKey } from '../../core/keys/change.ts'
import { createKey } from '../../core/keys/create.ts'
import { topUpKey } from '../../core/keys/credit.ts'
import { endPresented, removeKey, revokeKey } from '../../core/keys/end.ts'
import { type KeyQuery, listVisibleKeys, presentKeys } from '../../core/keys/list.ts'
import { lookUpKeys } from '../../core/keys/look-up.ts'
import {
  CreatedKey,
  DEFAULT_OVERLAP_SECONDS,
  FoundKeys,
  KEY_SORTS,
  Key,
  KeyEnded,
  KeyList,
  KeyLookup,
  KeyPatch,
  KeysRevocation,
  KeysRevoked,
  LISTED_STATUSES,
  type ListedKey,
  NewKey,
  RevokeQuery,
  Rotation,
} from '../../core/keys/model.ts'
import { presentKey, type WholeKey } from '../../core/keys/present.ts'
import { requireKey } from '../../core/keys/reach.ts'
import { revokeKeys } from '../../core/keys/revoke-many.ts'
import { endSecret, rotateKey } from '../../core/keys/rotate.ts'
import type { Principal } from '../../core/principal.ts'
import { Refusals, Usage, UsageQuery } from '../../core/usage/model.ts'
import { describeRefusals, describeUsage } from '../../core/usage/usage.ts'
import { checkKey } from '../../core/verify/check-key.ts'
import { KeyCheck, KeyCheckResult } from '../../core/verify/model.ts'
import { fail } from '../../lib/errors.ts'
import { Flag, Instant, wordOf } from '../../lib/model.ts'
import { MAX_OWNER_PAGE, MAX_PAGE } from '../../lib/page.ts'
import type { Guard } from '../auth.ts'
import { CSV_DESCRIPTION, csvAnswer, wantsCsv } from '../csv.ts'
import { idempotencyKeyOf } from '../idempotency.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery, queryInteger, searchQuery, tellTruncated } from '../page.ts'
import { originOf, type RequestState } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'
import { answerTopUp, describeTopUp, TOPS_UP } from '../top-up.ts'

const ListQuery = Type.Object(
  {
    service_account_id: Type.Optional(Type.String({ maxLength: 64 })),
    external_id: Type.Optional(Type.String({ maxLength: 255 })),
    query: searchQuery(
      "Keys of which every word begins a word of the name or external id; or whose start, owner's address or service account's name begins with the text",
    ),
    status: Type.Optional(wordOf(LISTED_STATUSES, '`active`: also those that are expiring or unused')),
    expires_before: Type.Optional(Instant),
    unused_since: Type.Optional(
      Type.String({
        format: 'date-time',
        description: 'Keys that were made before this day (UTC), and not used since it began',
      }),
    ),
    sort: Type.Optional(
      wordOf(
        KEY_SORTS,
        '`created_at` (default) and `last_used_at`: newest first; `expires_at`: soonest first; `name`: A to Z. Keys without a value come last. With all=true `created_at` or `expires_at`',
      ),
    ),
    expand: Type.Optional(
      Type.String({
        maxLength: 32,
        description: 'What is shown besides: `owner`, `usage` (pages of at most 100), or `owner,usage`',
      }),
    ),
    user_id: Type.Optional(Type.String({ maxLength: 64, description: 'Admins and support' })),
    all: Type.Optional(Flag),
    ...pageQuery,
    limit: t.Optional(
      queryInteger(
        'limit',
        1,
        MAX_OWNER_PAGE,
        `${MAX_OWNER_PAGE} unless given; with all=true or expand=usage at most ${MAX_PAGE}, and ${MAX_PAGE} unless given`,
      ),
    ),
  },
  { additionalProperties: false },
)

const creates = { body: NewKey, response: { 201: CreatedKey } }
const lists = { query: ListQuery, response: { 200: KeyList } }
const revokes = { query: RevokeQuery, response: { 200: KeyEnded } }
const createErrors = [
  'reauthentication_required',
  'insufficient_scope',
  'quota_exceeded',
  'already_created',
  'not_found',
] as const
const manageErrors = ['not_found', 'forbidden', 'reauthentication_required'] as const

/** The paths of the seed, and beside them the paths that REST conventions suggest. Both answer alike. */
export const keyRoutes = (context: Context, guard: Guard) => {
  const present = (key: WholeKey) => presentKey(key, context.clock())
  const create = async (caller: Principal, state: RequestState, input: NewKey): Promise<CreatedKey> => {
    const { row, key } = await createKey(context, originOf(state), caller, input, idempotencyKeyOf(state))
    return { ...present(row), key }
  }
  const listPage = async (
    caller: Principal,
    query: KeyQuery,
    set: { headers: Record<string, unknown> },
  ): Promise<KeyList> => {
    const { keys, nextCursor, isTruncated } = await listVisibleKeys(context, caller, query)
    tellTruncated(set, isTruncated)
    if (nextCursor !== null) set.headers.link = nextLink(query, nextCursor)
    return presentKeys(context, keys, query.expand)
  }
  /** The keys from a page on, as an export reads them. */
  const readPages = async (caller: Principal, query: KeyQuery): Promise<ExportPage<ListedKey>> => {
    const { keys, nextCursor } = await listVisibleKeys(context, caller, { ...query, limit: MAX_PAGE })
    return {
      rows: await presentKeys(context, keys, query.expand),
      next: nextCursor === null ? null : () => readPages(caller, { ...query, cursor: nextCursor }),
    }
  }
  const list = (
    caller: Principal,
    query: KeyQuery,
    set: { headers: Record<string, unknown> },
    state: RequestState,
  ) =>
    wantsCsv(state.request)
      ? csvAnswer(context, state, caller, {
          list: 'keys',
          query,
          columns: columnsOf(query),
          read: () => readPages(caller, query),
        })
      : listPage(caller, query, set)
  const revoke = async (caller: Principal, state: RequestState, id: string, query: RevokeQuery) => {
    const options = { reason: query.reason ?? null, created: query.created === 'true' }
    await revokeKey(context, originOf(state), caller, id, options)
    return { message: 'API key revoked successfully', key_id: id }
  }

  return new Elysia({ prefix: '/keys', tags: ['API keys'] })
    .use(guard)
    .onTransform(refuseWords)
    .post('/create', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...NEEDS['POST /keys/create'],
      ...creates,
      detail: describe('createKey', 'Make an API key', { errors: createErrors }),
    })
    .post('/', async ({ auth, body, state, status }) => status(201, await create(auth, state, body)), {
      ...NEEDS['POST /keys'],
      ...creates,
      detail: describe('postKey', 'Make an API key (same as /keys/create)', { errors: createErrors }),
    })
    .get('/list', ({ auth, query, set, state }) => list(auth, query, set, state), {
      ...NEEDS['GET /keys/list'],
      ...lists,
      detail: describe('listKeys', "The caller's API keys, newest first unless sorted otherwise", {
        description: CSV_DESCRIPTION,
        errors: ['not_found', 'forbidden'],
      }),
    })
    .get('/', ({ auth, query, set, state }) => list(auth, query, set, state), {
      ...NEEDS['GET /keys'],
      ...lists,
      detail: describe('getKeys', "The caller's API keys (same as /keys/list)", {
        description: CSV_DESCRIPTION,
        errors: ['not_found', 'forbidden'],
      }),
    })
    .delete(
      '/self',
      async ({ auth, state, status }) => {
        await endPresented(context, originOf(state), auth)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /keys/self'],
        response: noContent(),
        detail: describe('endOwnKey', 'End the presented key', {
          description:
            'Asks for no scope, address, limit or credit, so that a person who found a leaked key can end it.',
        }),
      },
    )
    .post(
      '/lookup',
      async ({ auth, body, state }) => ({ items: await lookUpKeys(context, originOf(state), auth, body) }),
      {
        ...NEEDS['POST /keys/lookup'],
        body: KeyLookup,
        response: { 200: FoundKeys },
        detail: describe(
          'lookUpKeys',
          'Whose key this is: by the key, its SHA-256, or its first characters',
          {
            description: 'At most 20. It is no use of the key: nothing is counted. Each call is audited.',
          },
        ),
      },
    )
    .get('/:id', async ({ auth, params }) => present(await requireKey(context, auth, params.id)), {
      ...NEEDS['GET /keys/:id'],
      response: { 200: Key },
      detail: describe('getKey', 'One API key', { errors: ['not_found'] }),
    })
    .patch(
      '/:id',
      async ({ auth, body, params, state }) =>
        present(await changeKey(context, originOf(state), auth, params.id, body)),
      {
        ...NEEDS['PATCH /keys/:id'],
        body: KeyPatch,
        response: { 200: Key },
        detail: describe('changeKey', 'Change an API key; null clears', {
          errors: [...manageErrors, 'conflict', 'quota_exceeded'],
        }),
      },
    )
    .post(
      '/:id/rotate',
      async ({ auth, body, params, state, status }) => {
        const overlap = body?.overlap_seconds ?? DEFAULT_OVERLAP_SECONDS
        const { row, key } = await rotateKey(context, originOf(state), auth, params.id, overlap)
        return status(201, { ...present(row), key })
      },
      {
        ...NEEDS['POST /keys/:id/rotate'],
        body: Rotation,
        response: { 201: CreatedKey },
        detail: describe('rotateKey', 'Give a key a new secret; the old one works until the overlap ends', {
          errors: [...manageErrors, 'conflict'],
        }),
      },
    )
    .post(
      '/:id/credits',
      ({ auth, params, ...given }) =>
        answerTopUp(given, `/keys/${params.id.toLowerCase()}/credits`, (request) =>
          topUpKey(context, originOf(given.state), auth, params.id, request),
        ),
      {
        ...NEEDS['POST /keys/:id/credits'],
        ...TOPS_UP,
        detail: describeTopUp('topUpKey', 'a key'),
      },
    )
    .post(
      '/:id/check',
      async ({ auth, body, params }) => {
        const { id } = await requireKey(context, auth, params.id)
        return checkKey(context, id, body)
      },
      {
        ...NEEDS['POST /keys/:id/check'],
        body: KeyCheck,
        response: { 200: KeyCheckResult },
        detail: describe('checkKey', 'Why a key is refused: what verify would answer, and each check', {
          description: 'Counts, charges and moves nothing.',
          errors: ['not_found'],
        }),
      },
    )
    .delete(
      '/:id/secrets/:secret',
      async ({ auth, params, state, status }) => {
        await endSecret(context, originOf(state), auth, params.id, params.secret)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /keys/:id/secrets/:secret'],
        response: noContent(),
        detail: describe(
          'endSecret',
          'End one of two live secrets early; ending the new one cancels the rotation',
          {
            description:
              'The secret is named by its id, or by its first characters where these name one alone.',
            errors: [...manageErrors, 'conflict'],
          },
        ),
      },
    )
    .get(
      '/:id/usage',
      async ({ auth, params, query }) => {
        const key = await requireKey(context, auth, params.id)
        return describeUsage(context, key.id, query)
      },
      {
        ...NEEDS['GET /keys/:id/usage'],
        query: UsageQuery,
        response: { 200: Usage },
        detail: describe('getKeyUsage', 'How often a key was used, by time and outcome', {
          errors: ['not_found'],
        }),
      },
    )
    .get(
      '/:id/refusals',
      async ({ auth, params }) => describeRefusals(context, (await requireKey(context, auth, params.id)).id),
      {
        ...NEEDS['GET /keys/:id/refusals'],
        response: { 200: Refusals },
        detail: describe('getKeyRefusals', 'Why a key was refused lately, the newest first', {
          description: 'At most 100, kept for REFUSALS_RETENTION_DAYS.',
          errors: ['not_found'],
        }),
      },
    )
    .post('/revoke', ({ auth, body, state }) => revokeKeys(context, originOf(state), auth, body), {
      ...NEEDS['POST /keys/revoke'],
      body: KeysRevocation,
      response: { 200: KeysRevoked },
      detail: describe('revokeKeys', 'End many API keys for good', {
        description: 'At most 5,000 a request, the oldest first: ask again until `remaining` is 0.',
        errors: ['not_found', 'forbidden'],
      }),
    })
    .delete('/revoke/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...NEEDS['DELETE /keys/revoke/:id'],
      ...revokes,
      detail: describe('revokeKey', 'End an API key for good', { errors: manageErrors }),
    })
    .delete('/:id', ({ auth, params, query, state }) => revoke(auth, state, params.id, query), {
      ...NEEDS['DELETE /keys/:id'],
      ...revokes,
      detail: describe('deleteKeyById', 'End an API key for good (same as /keys/revoke/{id})', {
        errors: manageErrors,
      }),
    })
    .delete(
      '/delete/:id',
      async ({ auth, params, state }) => {
        await removeKey(context, originOf(state), auth, params.id)
        return { message: 'API key deleted successfully', key_id: params.id }
      },
      {
        ...NEEDS['DELETE /keys/delete/:id'],
        response: { 200: KeyEnded },
        detail: describe('removeKey', 'Remove an API key; the audit trail stays', { errors: manageErrors }),
      },
    )
}

/** The members of a listed key, in their order. */
const columnsOf = ({ expand = '' }: KeyQuery): string[] => [
  ...Object.keys(Key.properties),
  ...['owner', 'usage'].filter((member) => expand.split(',').includes(member)),
]

/** Words of the paths below `/keys/` that are no ids, whatever the method. */
const WORDS = new Set(['verify', 'verify-batch', 'import', 'lookup', 'revoke'])

/** @throws Problem method_not_allowed where a route that takes an id is given the word of a route that takes POST */
const refuseWords = ({ params }: { params: { id?: string } | undefined }): void => {
  const id = params?.id
  if (id !== undefined && WORDS.has(id)) fail('method_not_allowed', { headers: { Allow: 'POST' } })
}

/** The `Link` to the next page (RFC 8288). It is relative, since a proxy may have added to the path. */
function nextLink(query: KeyQuery, cursor: string): string {
  const next = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...query, cursor }))
    if (value !== undefined) next.set(name, String(value))
  return `<?${next}>; rel="next"`
}
