import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { EXPLANATIONS } from '../../src/api/routes/error-pages.ts'
import { catalogue, type ErrorCode } from '../../src/lib/errors.ts'
import { call } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { useService } from '../support/use-service.ts'

const service = useService()
const codes = Object.keys(catalogue) as ErrorCode[]

describe('the page of an error', () => {
  test('answers at the type that an error names', async () => {
    const refusal = await call(service, 'GET /auth/me')
    const page = await call(service, `GET ${refusal.body.type}`)
    expect(page.status).toBe(200)
    expect(page.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(page.text).toStartWith('Missing credential\n\ncode: missing_credential\nstatus: 401\n')
  })

  test.each(codes)('%s has one, which says what it means', async (code) => {
    const page = await call(service, `GET /errors/${code}`)
    expect(page.status).toBe(200)
    expect(page.text).toContain(EXPLANATIONS[code])
    expect(EXPLANATIONS[code].length).toBeGreaterThan(40)
  })

  test.each(['unknown', 'constructor', '__proto__'])('there is none for %s', async (name) =>
    expectProblem(await call(service, `GET /errors/${name}`), 'not_found'),
  )
})

test('docs/errors.md says the same of each code, and lists no other', () => {
  const document = readFileSync('docs/errors.md', 'utf8')
  const sections = new Map(
    document
      .replaceAll('`', '')
      .split('\n### ')
      .slice(1)
      .map((section) => [section.split('\n')[0], section.replace(/\s+/g, ' ').trim()]),
  )
  expect([...sections.keys()]).toEqual(codes)
  for (const code of codes) {
    const [status, title] = catalogue[code]
    expect(sections.get(code)).toBe(`${code} ${status}, "${title}". ${EXPLANATIONS[code]}`)
  }
})
