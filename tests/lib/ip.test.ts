import { expect, test } from 'bun:test'
import { bucketOf, parseClientAddress, readClientAddress } from '../../src/lib/ip.ts'

const OCTETS = [0, 1, 9, 10, 99, 100, 199, 200, 249, 250, 255]

test('an address in its canonical form is read as it stands', () => {
  for (const octet of OCTETS)
    for (const text of [`${octet}.2.3.4`, `1.${octet}.3.4`, `1.2.${octet}.4`, `1.2.3.${octet}`])
      expect([text, readClientAddress(text), bucketOf(text)]).toEqual([text, text, text])
})

test.each([
  ['01.2.3.4', null, 'unknown'],
  ['1.2.3.256', null, 'unknown'],
  ['1.2.3', null, 'unknown'],
  ['1.2.3.4.5', null, 'unknown'],
  ['1.2.3.4\n', null, 'unknown'],
  [' 1.2.3.4', null, 'unknown'],
  ['0x7f.1', null, 'unknown'],
  ['', null, 'unknown'],
  ['1.2.3.4:80', '1.2.3.4', 'unknown'],
  ['::ffff:1.2.3.4', '1.2.3.4', '1.2.3.4'],
  ['[2001:DB8::1]:443', '2001:db8::1', 'unknown'],
  ['2001:db8:0:0:0::1', '2001:db8::1', '2001:db8::/64'],
])('%p is read as %p, and counted as %p', (text, address, bucket) => {
  expect([readClientAddress(text), bucketOf(text)]).toEqual([address, bucket])
  expect(parseClientAddress(text)?.toString() ?? null).toBe(address)
})
