import { describe, expect, test } from 'bun:test'
import { findRedirectUriFault, matchesRedirectUri } from '../../src/core/clients/redirect-uris.ts'

describe('a redirect URI that may be registered', () => {
  const allowed = [
    'https://app.example.com/cb',
    'https://app.example.com',
    'https://app.example.com:8443/cb?tenant=1',
    'https://localhost/cb',
    'http://localhost/cb',
    'http://localhost:3000/cb?x=1',
    'http://127.0.0.1/cb',
    'http://[::1]:4000/cb',
  ]
  const privateUse = ['com.example.app:/cb', 'com.example.app://cb', 'com.example.my-app:/cb?x=1']
  const refused = [
    '',
    'app.example.com/cb',
    '/cb',
    'http://app.example.com/cb',
    'http://localhost.example.com/cb',
    'http://127.0.0.2/cb',
    'http://127.1/cb',
    'http://localhost@evil.example/cb',
    'http://localhost:80@evil.example/cb',
    'http://localhost\\.evil.example/cb',
    'https://user@app.example.com/cb',
    'https://@app.example.com/cb',
    'https://user:password@app.example.com/cb',
    'https:/app.example.com/cb',
    'https:///app.example.com/cb',
    'https:app.example.com',
    'HTTPS://app.example.com/cb',
    'https://app.example.com/cb#',
    'https://app.example.com/cb#x',
    'https://app.example.com/c b',
    'https://app.example.com\\@evil.example/cb',
    'https://app.example.com/cb\n',
    'https://exämple.com/cb',
    'https://[::1/cb',
    'https://app.example.com:99999/cb',
    'https://app.example.com/cb?code=1',
    'https://app.example.com/cb?x=1&state=',
    'https://app.example.com/cb?%69ss=1',
    'https://app.example.com/cb?error',
    'javascript:alert(1)',
    'data:text/html,x',
    'file:///etc/passwd',
    'myapp:/cb',
    'com.example.app://user@cb',
    'com.example.app:/cb?code=1',
    `https://app.example.com/${'x'.repeat(480)}`,
  ]

  test.each(allowed)('%s', (uri) => {
    expect(findRedirectUriFault(uri)).toBeNull()
    expect(findRedirectUriFault(uri, 'admin')).toBeNull()
  })

  test.each(privateUse)('%s, where an admin enters it', (uri) => {
    expect(findRedirectUriFault(uri, 'admin')).toBeNull()
    expect(findRedirectUriFault(uri)).toBeString()
  })

  test.each(refused)('not %p', (uri) => {
    expect(findRedirectUriFault(uri, 'admin')).toBeString()
    expect(findRedirectUriFault(uri)).toBeString()
  })
})

describe('the redirect URI of a request', () => {
  test.each([
    ['https://app.example.com/cb', 'https://app.example.com/cb'],
    ['com.example.app:/cb', 'com.example.app:/cb'],
    ['http://127.0.0.1/cb', 'http://127.0.0.1:51004/cb'],
    ['http://127.0.0.1:80/cb?x=1', 'http://127.0.0.1:51004/cb?x=1'],
    ['http://[::1]:9/cb', 'http://[::1]/cb'],
    ['http://localhost', 'http://localhost:3000'],
  ])('%s is met by %s', (registered, asked) => {
    expect(matchesRedirectUri(registered, asked)).toBeTrue()
  })

  test.each([
    ['https://app.example.com/cb', 'https://app.example.com:443/cb'],
    ['https://app.example.com/cb', 'https://app.example.com/cb/'],
    ['https://app.example.com/cb', 'https://APP.example.com/cb'],
    ['https://app.example.com/cb', 'https://app.example.com/cb?x=1'],
    ['https://localhost/cb', 'https://localhost:3000/cb'],
    ['http://localhost/cb', 'http://127.0.0.1/cb'],
    ['http://localhost/cb', 'https://localhost/cb'],
    ['http://localhost/cb', 'http://localhost:3000/cb2'],
    ['http://localhost/cb', 'http://localhost:3000/cb?x=1'],
    ['http://localhost/cb', 'http://localhost:80@evil.example/cb'],
    ['http://localhost/cb', 'http://localhost.evil.example/cb'],
    ['http://localhost/cb', 'http://localhost:/cb'],
    ['http://localhost/cb', 'http://localhost:99999/cb'],
    ['http://localhost/cb', 'http://localhost:3000/cb#x'],
    ['com.example.app:/cb', 'com.example.app:/cb2'],
  ])('%s is not met by %s', (registered, asked) => {
    expect(matchesRedirectUri(registered, asked)).toBeFalse()
  })
})
