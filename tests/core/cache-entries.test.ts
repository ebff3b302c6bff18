import { expect, test } from 'bun:test'
import type { KeyPrincipal } from '../../src/core/principal.ts'
import { noUses } from '../../src/core/usage/uses.ts'
import { createEntries } from '../../src/core/verify/entries.ts'

const keyOf = (keyId: string, ownerId: string): KeyPrincipal => ({
  kind: 'key',
  resource: null,
  uses: noUses(),
  keyId,
  secretId: `secret of ${keyId}`,
  name: null,
  owner: { type: 'service_account', id: ownerId, name: ownerId },
  externalId: null,
  metadata: null,
  rateLimit: null,
  rateRoot: null,
  rates: null,
  allowedIps: null,
  hasCredits: false,
  hasOwnerCredits: false,
  claims: null,
  keyExpiresAt: null,
  endsAt: null,
  scopes: [],
  grants: { everything: false, reserved: false, scopes: [] },
})

test('of a full cache the unused entries go, the oldest first', () => {
  const entries = createEntries(4)
  const add = (hash: string) => entries.add(hash, keyOf(hash, `owner of ${hash}`), 1)
  for (const hash of ['a', 'b', 'c', 'd']) add(hash)
  for (const hash of ['a', 'c']) Object.assign(entries.get(hash) ?? {}, { isUsed: true })
  add('e')
  expect(['a', 'b', 'c', 'd', 'e'].filter((hash) => entries.get(hash))).toEqual(['a', 'c', 'd', 'e'])
  // The second chance is used up.
  for (const hash of ['f', 'g', 'h', 'i']) add(hash)
  expect(['a', 'c'].filter((hash) => entries.get(hash))).toEqual([])
  expect(entries.size()).toBe(4)
})

test('a cache of used entries makes room too', () => {
  const entries = createEntries(200)
  for (let n = 0; n < 1000; n++) {
    entries.add(`${n}`, keyOf(`key ${n}`, 'owner'), 1)
    Object.assign(entries.get(`${n}`) ?? {}, { isUsed: true })
    expect(entries.size()).toBe(Math.min(n + 1, 200))
  }
})

test('entries of one owner share its object, unless it differs', () => {
  const entries = createEntries(10)
  for (const n of [1, 2]) entries.add(`${n}`, keyOf(`key ${n}`, 'owner'), 1)
  const renamed = keyOf('key 3', 'owner')
  renamed.owner = { type: 'service_account', id: 'owner', name: 'another' }
  entries.add('3', renamed, 1)
  const ownerOf = (hash: string) => {
    const principal = entries.get(hash)?.principal
    return principal?.kind === 'key' ? principal.owner : null
  }
  expect(ownerOf('2')).toBe(ownerOf('1'))
  expect(ownerOf('3')).toMatchObject({ name: 'another' })
  expect(ownerOf('1')).toMatchObject({ name: 'owner' })
})

test('whatever is added, used and deleted, an entry is found until its own row or its place goes', () => {
  const entries = createEntries(50)
  const model = new Map<string, { key: string; owner: string }>()
  const pick = (most: number) => Math.floor(Math.random() * most)
  for (let step = 0; step < 20_000; step++) {
    const hash = `hash ${pick(200)}`
    const [key, owner] = [`key ${pick(100)}`, `owner ${pick(10)}`]
    const what = pick(10)
    if (what < 6) {
      entries.add(hash, keyOf(key, owner), 1)
      model.set(hash, { key, owner })
    } else if (what < 8) {
      const gone = pick(2) ? key : owner
      entries.deleteOf(gone)
      for (const [hash, row] of model) if (row.key === gone || row.owner === gone) model.delete(hash)
    } else {
      Object.assign(entries.get(hash) ?? {}, { isUsed: true })
    }
    const found = entries.get(hash)
    if (found) {
      const { key, owner } = model.get(hash) ?? {}
      expect(found.principal).toMatchObject({ keyId: key, owner: { id: owner } })
    } else if (what < 6) throw new Error('What was just added is missing')
    expect(entries.size()).toBeLessThanOrEqual(50)
  }
})

test('entries with equal scopes share the list, whoever owns them', () => {
  const entries = createEntries(10)
  const add = (hash: string, scopes: string[]) =>
    entries.add(
      hash,
      {
        ...keyOf(hash, `owner of ${hash}`),
        scopes,
        grants: { everything: false, reserved: false, scopes },
      },
      1,
    )
  add('1', ['read', 'write'])
  add('2', ['read', 'write'])
  add('3', ['read'])
  const listsOf = (hash: string) => {
    const principal = entries.get(hash)?.principal
    return principal?.kind === 'key' ? [principal.scopes, principal.grants.scopes] : []
  }
  expect(listsOf('2')[0]).toBe(listsOf('1')[0])
  expect(listsOf('2')).toEqual([
    ['read', 'write'],
    ['read', 'write'],
  ])
  expect(listsOf('3')).toEqual([['read'], ['read']])
})
