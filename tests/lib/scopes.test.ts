import { describe, expect, test } from 'bun:test'
import { ceilingOfList, ceilingOfUser, covers, parseScopes } from '../../src/lib/scopes.ts'

describe('scopes are read in four spellings', () => {
  test.each([
    ['read', ['read']],
    ['read,write', ['read', 'write']],
    ['read write', ['read', 'write']],
    [
      ['read', 'write'],
      ['read', 'write'],
    ],
    [' read , write,, ', ['read', 'write']],
    ['read,read read', ['read']],
    [['read', 'read'], ['read']],
    ['a:b.c-d_e:0', ['a:b.c-d_e:0']],
    ['latchkey:keys.read', ['latchkey:keys.read']],
    ['x'.repeat(64), ['x'.repeat(64)]],
    ['', []],
    [' , ', []],
    [[], []],
    [null, []],
    [undefined, []],
  ])('%p means %p', (input, scopes) => {
    expect(parseScopes(input)).toEqual(scopes)
  })

  test.each([
    ['Read'],
    ['reád'],
    ['*'],
    ['read:*'],
    ['read:'],
    [':read'],
    ['a::b'],
    ['.read'],
    ['-read'],
    ['__proto__'],
    ['read;write'],
    ['read\0'],
    ['x'.repeat(65)],
    [['read,write']],
    [['read write']],
    [['']],
    [['read\n']],
    [Array.from({ length: 51 }, (_, i) => `s${i}`)],
  ])('%# is refused', (input) => {
    expect(parseScopes(input)).toEqual({ fault: expect.any(String) })
  })

  test('fifty are taken, repetitions not counted', () => {
    const fifty = Array.from({ length: 50 }, (_, i) => `s${i}`)
    expect(parseScopes([...fifty, ...fifty])).toEqual(fifty)
  })
})

describe('a ceiling', () => {
  const user = (scopes: string[] | null) => ({ role: 'user' as const, scopes })
  const admin = (scopes: string[] | null) => ({ role: 'admin' as const, scopes })

  test.each([
    ["a user's is USER_SCOPES", ceilingOfUser(user(null), ['read', 'write']), 'read', true],
    ["a user's is USER_SCOPES", ceilingOfUser(user(null), ['read', 'write']), 'billing', false],
    ['no wildcard', ceilingOfUser(user(null), ['read']), 'read:all', false],
    ['no prefix', ceilingOfUser(user(null), ['read:all']), 'read', false],
    ["a user's own list counts instead", ceilingOfUser(user(['billing']), ['read']), 'billing', true],
    ["a user's own list counts instead", ceilingOfUser(user(['billing']), ['read']), 'read', false],
    ["a user's own list counts instead of any", ceilingOfUser(user(['billing']), 'any'), 'read', false],
    ['an empty list is none', ceilingOfUser(user([]), 'any'), 'read', false],
    ['any is every scope', ceilingOfUser(user(null), 'any'), 'whatever', true],
    ['but none of the reserved', ceilingOfUser(user(null), 'any'), 'latchkey:verify', false],
    ['except these two', ceilingOfUser(user(null), ['read']), 'latchkey:keys.read', true],
    ['except these two', ceilingOfUser(user([]), ['read']), 'latchkey:keys.write', true],
    [
      'a reserved one that an admin gave',
      ceilingOfUser(user(['latchkey:verify']), []),
      'latchkey:verify',
      true,
    ],
    ['an admin is not limited', ceilingOfUser(admin(null), []), 'whatever', true],
    ['an admin is not limited', ceilingOfUser(admin(['read']), []), 'latchkey:users.write', true],
    ['a list is that list', ceilingOfList(['read']), 'read', true],
    ['a list is that list', ceilingOfList(['read']), 'latchkey:keys.read', false],
    ['an empty list covers nothing', ceilingOfList([]), 'read', false],
  ])('%s (%#)', (_, ceiling, scope, covered) => {
    expect(covers(ceiling, scope)).toBe(covered)
  })
})
