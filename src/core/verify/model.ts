import { type Static, Type } from '@sinclair/typebox'
import { AsOf, Id, Instant, nullable, Role, ScopeInput, ScopeList, wordOf } from '../../lib/model.ts'
import { CHECKS } from '../../lib/outcomes.ts'
import { MAX_CREDENTIAL_LENGTH } from '../../lib/tokens.ts'

export const MAX_COST = 1_000_000
const MAX_BATCH = 100

const question = {
  key: Type.String({
    maxLength: MAX_CREDENTIAL_LENGTH,
    description: 'The key that was presented to the asking service',
  }),
  // null counts as absent. The members of the body that are null are removed before the check, but not those of a
  // batch's questions.
  scopes: Type.Optional(nullable(ScopeInput)),
  cost: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: MAX_COST }), 'Credits; 1 unless given')),
  ip: Type.Optional(
    nullable(
      Type.String({ maxLength: 64 }),
      "The client's address, as the asking service sees it; a port is left aside, and an address that cannot be read is none",
    ),
  ),
}

export const VerifyRequest = Type.Object(question, { $id: 'VerifyRequest', additionalProperties: false })
export type VerifyRequest = Static<typeof VerifyRequest>

export const VerifyBatchRequest = Type.Object(
  { keys: Type.Array(VerifyRequest, { minItems: 1, maxItems: MAX_BATCH }) },
  { $id: 'VerifyBatchRequest', additionalProperties: false },
)
export type VerifyBatchRequest = Static<typeof VerifyBatchRequest>

const RateLeft = Type.Object({
  limit: Type.Integer(),
  remaining: Type.Integer(),
  reset_at: Instant,
  scope: Type.Optional(
    Type.Literal('region', { description: 'Counted by the verifiers of one region alone' }),
  ),
})

const answer = {
  valid: Type.Boolean(),
  code: Type.String({ examples: ['VALID'] }),
  key_id: Type.Optional(Id),
  name: Type.Optional(nullable(Type.String())),
  external_id: Type.Optional(nullable(Type.String())),
  owner: Type.Optional(
    Type.Object({ type: Type.Union([Type.Literal('user'), Type.Literal('service_account')]), id: Id }),
  ),
  scopes: Type.Optional(ScopeList),
  expires_at: Type.Optional(nullable(Instant)),
  metadata: Type.Optional(nullable(Type.Record(Type.String(), Type.Unknown()))),
  credits: Type.Optional(nullable(Type.Object({ remaining: Type.Integer() }), "The key's own; null: none")),
  owner_credits: Type.Optional(
    nullable(
      Type.Object({ remaining: Type.Integer() }),
      "Of the key's owner, for all of its keys; null: none",
    ),
  ),
  rate_limit: Type.Optional(nullable(RateLeft)),
  owner_rate_limit: Type.Optional(
    nullable(RateLeft, 'What is left of the rate that all keys of the owner share'),
  ),
  missing_scopes: Type.Optional(ScopeList),
  limited_by: Type.Optional(wordOf(['key', 'owner'], 'Whose limit is used up')),
  retry_after_seconds: Type.Optional(Type.Integer()),
  as_of: Type.Optional(AsOf),
}

export const VerifyResult = Type.Object(answer, { $id: 'VerifyResult' })
export type VerifyResult = Static<typeof VerifyResult>

export const VerifyBatchResult = Type.Object(
  { results: Type.Array(VerifyResult) },
  { $id: 'VerifyBatchResult' },
)
export type VerifyBatchResult = Static<typeof VerifyBatchResult>

const { key: _, ...purpose } = question

export const VerifyAnyRequest = Type.Object(
  {
    credential: Type.String({
      maxLength: MAX_CREDENTIAL_LENGTH,
      description: 'What was presented to the asking service: an API key or an access token',
    }),
    resource: Type.Optional(
      nullable(
        Type.String({ maxLength: 500 }),
        'The identifier of the resource that the asking service protects; none: it takes no token that was made for one',
      ),
    ),
    ...purpose,
  },
  { $id: 'VerifyAnyRequest', additionalProperties: false },
)
export type VerifyAnyRequest = Static<typeof VerifyAnyRequest>

export const VerifyAnyResult = Type.Object(
  {
    ...answer,
    kind: Type.Optional(wordOf(['key', 'user', 'client'], 'Whose credential it is; `client`: an app')),
    subject: Type.Optional(Id),
    client_id: Type.Optional(Type.String({ description: 'The app that the person allowed' })),
    grant_id: Type.Optional(Id),
    resource: Type.Optional(Type.String({ description: 'For which the token was made' })),
    role: Type.Optional(Role),
    email: Type.Optional(Type.String({ description: 'Only where it is verified' })),
    email_verified: Type.Optional(Type.Boolean()),
    amr: Type.Optional(Type.Array(Type.String())),
    auth_time: Type.Optional(Type.Integer()),
  },
  { $id: 'VerifyAnyResult' },
)
export type VerifyAnyResult = Static<typeof VerifyAnyResult>

/** What a key is checked for; nothing: as it would be used without any of these. */
export const KeyCheck = Type.Union([
  Type.Object(purpose, { $id: 'KeyCheck', additionalProperties: false }),
  Type.Null(),
])
export type KeyCheck = Static<typeof KeyCheck>

export const KeyCheckResult = Type.Object(
  {
    ...answer,
    checks: Type.Array(Type.Object({ code: wordOf(CHECKS), passed: Type.Boolean() }), {
      description: 'Every check, in order, each decided by itself; `code` is the first that did not pass',
    }),
  },
  { $id: 'KeyCheckResult' },
)
export type KeyCheckResult = Static<typeof KeyCheckResult>
