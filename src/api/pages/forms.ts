import { Value } from '@sinclair/typebox/value'
import { t } from 'elysia'
import { SecondStep } from '../../core/second-factors/model.ts'
import { catalogue, fail, failField, Problem, pointerTo } from '../../lib/errors.ts'
import { parseJson } from '../../lib/json.ts'

/** The fields of a form that was sent. A field that was left empty is missing. */
export type Fields = Readonly<Partial<Record<string, string>>>

/** A parameter of a page's query; null where it is missing, or is there more than once. */
export const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** Every form's shape: text by name. What each field may hold is checked where it is used. */
export const FIELDS = t.Record(t.String(), t.String())

/**
 * A field that has to be there.
 * @throws Problem validation_failed
 */
function takeField(fields: Fields, name: string, maxLength: number): string {
  const value = fields[name] ?? failField(pointerTo(name), 'Is required')
  if (value.length > maxLength) failField(pointerTo(name), `Must have at most ${maxLength} characters`)
  return value
}

/** As long as what the JSON routes take. */
export const takeEmail = (fields: Fields): string => takeField(fields, 'email', 1024)
export const takePassword = (fields: Fields, name = 'password'): string => takeField(fields, name, 8192)

/**
 * The content of the form of the second step, with exactly one of the three proofs.
 * @throws Problem invalid_code where the answer of a passkey cannot be read, invalid_token
 */
export function takeSecondStep({ mfa_token, code, recovery_code, response }: Fields): SecondStep {
  if (mfa_token === undefined) fail('invalid_token')
  const step = {
    mfa_token,
    ...(code !== undefined && { code: code.replaceAll(' ', '') }),
    ...(recovery_code !== undefined && { recovery_code }),
    ...(response !== undefined && { response: parseResponse(response) }),
  }
  if (!Value.Check(SecondStep, step)) fail('invalid_code')
  return step
}

function parseResponse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return null
  }
}

/** What people call the members that a refusal names. */
const FIELD_NAMES: Record<string, string> = {
  '/email': 'The e-mail address',
  '/password': 'The password',
  '/new_password': 'The password',
  '/code': 'The code',
}

/** What went wrong, as one sentence for a person. */
function sentenceOf({ problem, extra }: Problem): string {
  const [error] = extra.errors ?? []
  const [, , detail] = catalogue[problem]
  const sentence = error
    ? `${FIELD_NAMES[error.path] ?? 'A field'} ${lowerFirst(error.message)}`
    : (extra.detail ?? detail)
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

/** What a page says where its form was refused, and with which status and headers. */
export type Refused = { sentence: string; status: number; headers: Record<string, string>; problem: Problem }

/**
 * Does the work of a form. If the work is refused, the page is drawn again with a sentence. Other errors, and refusals
 * with a status from 500, are thrown again and get the error page.
 */
export async function orRefused(
  work: () => Promise<Response>,
  redraw: (refused: Refused) => Response | Promise<Response>,
): Promise<Response> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const [status] = catalogue[error.problem]
    if (status >= 500) throw error
    const { headers = {} } = error.extra
    return redraw({ sentence: sentenceOf(error), status, headers, problem: error })
  }
}
