import { expect } from 'bun:test'
import { catalogue, type ErrorCode } from '../../src/lib/errors.ts'
import type { Answer } from './client.ts'

/** Asserts that an answer is this error, completely: RFC 9457's members, the content type, the request id. */
export function expectProblem(answer: Answer, code: ErrorCode): void {
  const [status, title] = catalogue[code]
  expect(`${answer.status} ${answer.text}`).toStartWith(`${status} {`)
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  const { detail, errors, limited_by, ...rest } = answer.body
  const request_id = answer.headers.get('x-request-id')
  // Only a limit of the key or of its owner has it.
  if (code === 'credits_exhausted') expect(limited_by).toBeOneOf(['key', 'owner'])
  else if (code === 'rate_limited') expect(limited_by).toBeOneOf([undefined, 'key', 'owner'])
  else expect(limited_by).toBeUndefined()
  expect(rest).toEqual({ type: `/errors/${code}`, title, status, code, request_id })
  expect(detail).toBeString()
  if (code === 'validation_failed') expect(errors).not.toBeEmpty()
  else expect(errors).toBeUndefined()
  if (status === 429) expectSpent(answer)
}

/**
 * Asserts that the headers of a refusal describe a limit that is used up: nothing remains, and both headers
 * name the same time. For credits that are never refilled there is neither time nor amount.
 */
export function expectSpent({ status, headers }: Pick<Answer, 'status' | 'headers'>): void {
  const read = (name: string) => headers.get(name)
  const told = [status, read('ratelimit-remaining'), read('retry-after') === read('ratelimit-reset')]
  expect(told).toEqual([429, '0', true])
  expect(read('ratelimit-limit')).toMatch(read('retry-after') === null ? /^0$/ : /^[1-9]\d*$/)
  expect(read('retry-after') ?? '1').toMatch(/^[1-9]\d*$/)
}

/** An answer without the parts that differ from request to request, to compare two answers. */
export function comparable(answer: Answer) {
  const headers = Object.fromEntries(answer.headers)
  delete headers['x-request-id']
  delete headers.date
  const { request_id, ...body } = answer.body ?? {}
  return { status: answer.status, headers, body }
}
