import { Elysia } from 'elysia'
import type { Client } from './index.ts'
import { type Need, type PrincipalOf, requireNeed, requirePlain } from './need.ts'
import type { Principal } from './principal.ts'
import { type Refusal, toResponse } from './refusal.ts'

/** A refusal that is thrown, and answered by `onError`. */
class Refused extends Error {
  readonly refusal: Refusal
  /** The status of the answer, also where the application's own `onError` writes the body. */
  readonly status: number
  constructor(refusal: Refusal) {
    super(refusal.code)
    this.refusal = refusal
    this.status = refusal.status
  }
}

type Asking = { request: Request; server: { requestIP(request: Request): { address: string } | null } | null }

/** The value of a macro: `true`, or further requirements. */
type More = true | Pick<Need, 'mfa' | 'scopes' | 'cost'>

/**
 * Macros that require a verified caller: `anyone`, `user`, `admin`, `key`, `client`. Each gives the handler a `principal` of the
 * fitting type. The credential is verified before the body is parsed.
 * @param addressOf gives the client's address where a proxy is in between; by default the address of the connection
 * @example app.use(latchkey(client)).get('/me', ({ principal }) => principal.userId, { user: true })
 */
export function latchkey(client: Client, addressOf: (asking: Asking) => string | undefined = peerOf) {
  const requires =
    <const B extends Need>(base: B) =>
    (more: More) => {
      const need: Need = requireNeed(more === true ? base : { ...requirePlain(more), ...base })
      const authenticated = new WeakMap<Request, Promise<Principal>>()
      const authenticate = async (asking: Asking): Promise<Principal> => {
        const verdict = await client.authenticate(asking.request, { ...need, ip: addressOf(asking) })
        if (verdict.kind === 'refused') throw new Refused(verdict)
        return verdict
      }
      /**
       * Elysia parses before it transforms, and transforms before it validates. Not every request passes all hooks, so
       * each hook asks, and the answer is kept for the others.
       */
      const authenticateOnce = ({ request, server }: Asking): Promise<Principal> => {
        const principal = authenticated.get(request) ?? authenticate({ request, server })
        authenticated.set(request, principal)
        return principal
      }
      return {
        async parse({ request, server }: Asking) {
          await authenticateOnce({ request, server })
        },
        async transform({ request, server }: Asking) {
          await authenticateOnce({ request, server })
        },
        async resolve({ request, server }: Asking) {
          return { principal: (await authenticateOnce({ request, server })) as PrincipalOf<B> }
        },
      }
    }
  return new Elysia()
    .onError({ as: 'scoped' }, ({ error }) => {
      // An error that is thrown while a body is parsed arrives as the cause of a ParseError.
      const refused = [error, error instanceof Error ? error.cause : null].find((e) => e instanceof Refused)
      return refused && toResponse(refused.refusal)
    })
    .macro({
      anyone: requires({}),
      user: requires({ kind: 'user' }),
      admin: requires({ role: 'admin' }),
      key: requires({ kind: 'key' }),
      client: requires({ kind: 'client' }),
    })
}

const peerOf = ({ request, server }: Asking) => server?.requestIP(request)?.address
