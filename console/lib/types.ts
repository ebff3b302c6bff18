import type { management } from 'latchkey/client/management'

/** The shapes of the API, as its client spells them. */
type Api = ReturnType<typeof management>
type Of<F extends (...words: never[]) => Promise<{ data: unknown }>> = NonNullable<
  Awaited<ReturnType<F>>['data']
>

export type Key = Of<ReturnType<Api['keys']>['get']>
export type ListedKey = Of<Api['keys']['get']>[number]
export type FoundKey = Of<Api['keys']['lookup']['post']>['items'][number]
export type KeysQuery = NonNullable<NonNullable<Parameters<Api['keys']['get']>[0]>['query']>
export type KeyStatus = NonNullable<KeysQuery['status']>
export type NewKeyInput = NonNullable<Parameters<Api['keys']['post']>[0]>
export type CreatedKey = Of<Api['keys']['post']>
export type KeyPatch = NonNullable<Parameters<ReturnType<Api['keys']>['patch']>[0]>
export type Credits = NonNullable<Key['credits']>
export type Refill = NonNullable<Credits['refill']>
export type Interval = Refill['interval']
/** What has limits: a key, a user, a service account. */
export type Limited = Pick<Key, 'rate_limit' | 'credits'>
export type LimitPatch = Pick<KeyPatch, 'rate_limit' | 'credits'>
export type ServiceAccount = Of<ReturnType<Api['service-accounts']>['get']>
export type NewUserInput = NonNullable<Parameters<Api['users']['post']>[0]>
export type UserPatch = NonNullable<Parameters<ReturnType<Api['users']>['patch']>[0]>
export type User = Of<Api['users']['get']>['items'][number]
export type UserDetail = Of<ReturnType<Api['users']>['get']>
export type Refused = Of<ReturnType<Api['keys']>['refusals']['get']>['items'][number]
export type SigningKey = Of<Api['signing-keys']['get']>['items'][number]
export type SecondFactors = Of<Api['auth']['mfa']['get']>
export type PendingTotp = Of<Api['auth']['mfa']['totp']['post']>
export type Session = Of<Api['auth']['sessions']['get']>['items'][number]
export type AuditQuery = NonNullable<NonNullable<Parameters<Api['audit']['get']>[0]>['query']>
export type AuditEvent = Of<Api['audit']['get']>['items'][number]
export type Overview = Of<Api['overview']['get']>
export type Instance = Of<Api['instance']['get']>
export type Mail = Of<Api['mails']['get']>['items'][number]
export type MailsQuery = NonNullable<NonNullable<Parameters<Api['mails']['get']>[0]>['query']>
export type App = Of<ReturnType<Api['oauth']['clients']>['get']>
export type AppWithSecret = Of<Api['oauth']['clients']['post']>
export type AppSource = App['source']
export type NewAppInput = NonNullable<Parameters<Api['oauth']['clients']['post']>[0]>
export type AppPatch = NonNullable<Parameters<ReturnType<Api['oauth']['clients']>['patch']>[0]>
/** An API for which apps get tokens. */
export type Resource = Of<ReturnType<Api['resources']>['get']>
export type NewResourceInput = NonNullable<Parameters<Api['resources']['post']>[0]>
export type ResourcePatch = NonNullable<Parameters<ReturnType<Api['resources']>['patch']>[0]>
/** What a person allowed an app. */
export type Grant = Of<Api['auth']['grants']['get']>['items'][number]
export type Me = Extract<Of<Api['auth']['me']['get']>, { type: 'user' }>
