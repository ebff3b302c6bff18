import { decodeProtectedHeader } from 'jose'
import { listStoredKeys } from '../../src/core/signing/signing-keys.ts'
import { call } from './client.ts'
import type { TestService } from './service.ts'

/** The `kid` of every published key, in the order in which the keys sign. */
export async function publishedKids(service: Pick<TestService, 'url'>): Promise<string[]> {
  const { body } = await call(service, 'GET /.well-known/jwks.json')
  return body.keys.map((key: { kid: string }) => key.kid)
}

/** The key that signed a token. */
export function kidOf(token: string): string {
  return decodeProtectedHeader(token).kid ?? ''
}

/** The state of each stored key, as a server sees it now. */
export async function statesOf(service: TestService): Promise<Record<string, string>> {
  const keys = await listStoredKeys(service.context)
  return Object.fromEntries(keys.map(({ id, state }) => [id, state]))
}

/** The keys in a state. */
export async function kidsThatAre(service: TestService, wanted: string): Promise<string[]> {
  const states = Object.entries(await statesOf(service))
  return states.filter(([, state]) => state === wanted).map(([kid]) => kid)
}
