import { Elysia } from 'elysia'
import type { Client } from './index.ts'
import { type Need, type PrincipalOf, requireNeed, requirePlain } from './need.ts'
import type { Principal } from './principal.ts'
import { type Refusal, toResponse } from './refusal.ts'

/** A refusal on its way to `onError`. */
class Refused extends Error {
  readonly refusal: Refusal
  /** What Elysia answers with, whatever an `onError` of the application's own says. */
  readonly status: number
  constructor(refusal: Refusal) {
    super(refusal.code)
    this.refusal = refusal
    this.status = refusal.status
  }
}

type Asking = { request: Request; server: { requestIP(request: Request): { address: string } | null } | null }

/** What a macro takes: `true`, or what else is needed. */
type More = true | Pick<Need, 'mfa' | 'scopes' | 'cost'>

/**
 * Macros that let in whoever meets a need, each with `principal` of its own type in the handler's context: `anyone`,
 * `user`, `admin`, `key`. The credential is judged before the body is read as anything.
 * @param addressOf the client's address, where a proxy stands between; unless given, that of the connection
 * @example app.use(latchkey(client)).get('/me', ({ principal }) => principal.userId, { user: true })
 */
export function latchkey(client: Client, addressOf: (asking: Asking) => string | undefined = peerOf) {
  const requires =
    <const B extends Need>(base: B) =>
    (more: More) => {
      const need: Need = requireNeed(more === true ? base : { ...requirePlain(more), ...base })
      const judged = new WeakMap<Request, Promise<Principal>>()
      const judge = async (asking: Asking): Promise<Principal> => {
        const verdict = await client.authenticate(asking.request, { ...need, ip: addressOf(asking) })
        if (verdict.kind === 'refused') throw new Refused(verdict)
        return verdict
      }
      /** Elysia parses before it transforms, and transforms before it validates: each is the first to see some request. */
      const judgeOnce = ({ request, server }: Asking): Promise<Principal> => {
        const principal = judged.get(request) ?? judge({ request, server })
        judged.set(request, principal)
        return principal
      }
      return {
        async parse({ request, server }: Asking) {
          await judgeOnce({ request, server })
        },
        async transform({ request, server }: Asking) {
          await judgeOnce({ request, server })
        },
        async resolve({ request, server }: Asking) {
          return { principal: (await judgeOnce({ request, server })) as PrincipalOf<B> }
        },
      }
    }
  return new Elysia()
    .onError({ as: 'scoped' }, ({ error }) => {
      // What is thrown while a body is parsed arrives as the cause of a ParseError.
      const refused = [error, error instanceof Error ? error.cause : null].find((e) => e instanceof Refused)
      return refused && toResponse(refused.refusal)
    })
    .macro({
      anyone: requires({}),
      user: requires({ kind: 'user' }),
      admin: requires({ role: 'admin' }),
      key: requires({ kind: 'key' }),
    })
}

const peerOf = ({ request, server }: Asking) => server?.requestIP(request)?.address
