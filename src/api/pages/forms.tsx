import { Elysia, t } from 'elysia'
import type { Config } from '../../config/config.ts'
import { catalogue, Problem } from '../../lib/errors.ts'
import { readForm } from '../body.ts'
import { type RequestState, stated } from '../request-state.ts'
import { requireOwnOrigin } from './own-origin.ts'

/** The fields of a form that was sent. A field that was left empty is missing. */
export type Fields = Readonly<Partial<Record<string, string>>>

/** Every form's shape: text by name. What each field may hold is checked where it is used. */
export const FIELDS = t.Record(t.String(), t.String())

type Seen = { request: Request; state: RequestState }

/**
 * The macro of routes that change something for a browser: `ownForm` takes a form, `ownJson` JSON. Whose page sent the
 * request is asked before anything else of it is read.
 */
export const ownOrigin = (config: Config, readJson: (request: Request) => Promise<unknown>) => {
  const only = (read: (request: Request) => Promise<unknown>) => ({
    parse: ({ request }: Seen) => {
      requireOwnOrigin(config, request)
      return read(request)
    },
    // A request without a body is not parsed.
    transform: ({ request }: Seen) => requireOwnOrigin(config, request),
  })
  return new Elysia({ name: 'own-origin' }).use(stated).macro({
    ownForm: (_: true) => only(readForm),
    ownJson: (_: true) => only(readJson),
  })
}

/** What a page says where its form was refused, and with which status and headers. */
export type Refused = { sentence: string; status: number; headers: Record<string, string>; problem: Problem }

/**
 * Does the work of a form. What is refused is drawn again with a sentence; what is not our refusal is thrown on, as is
 * the error page of a server that is busy.
 */
export async function orRefused(
  work: () => Promise<Response>,
  redraw: (refused: Refused) => Response | Promise<Response>,
): Promise<Response> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const { problem, extra } = error
    const [status, , detail] = catalogue[problem]
    if (status >= 500) throw error
    const sentence = extra.errors?.[0]?.message ?? extra.detail ?? detail
    return redraw({ sentence, status, headers: extra.headers ?? {}, problem: error })
  }
}
