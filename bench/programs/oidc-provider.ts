/**
 * Introspection by oidc-provider of access tokens that it issued to a client and keeps in memory:
 * `oidc-provider.ts <tokens>`.
 */
import type { AddressInfo } from 'node:net'
import Provider, { type Adapter, type AdapterPayload } from 'oidc-provider'
import { announce } from '../support/announcement.ts'

const [tokenCount] = process.argv.slice(2)
const client = { client_id: 'bench', client_secret: 'only-for-the-bench-and-long-enough-for-it' }

/** oidc-provider's own in-memory adapter keeps only the newest thousand tokens. */
function keepInMap(): Adapter {
  const rows = new Map<string, AdapterPayload>()
  return {
    upsert: async (id, payload) => void rows.set(id, payload),
    find: async (id) => rows.get(id),
    findByUserCode: async () => undefined,
    findByUid: async () => undefined,
    consume: async () => {},
    destroy: async (id) => void rows.delete(id),
    revokeByGrantId: async () => {},
  }
}

const provider = new Provider('http://localhost', {
  adapter: keepInMap,
  clients: [{ ...client, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false },
  },
})
const owner = await provider.Client.find(client.client_id)
if (!owner) throw new Error('There is no client')
const tokens = await Promise.all(
  Array.from({ length: Number(tokenCount) }, () => new provider.ClientCredentials({ client: owner }).save()),
)
const headers = { Authorization: `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}` }
const server = provider.listen(0, '127.0.0.1', () => {
  announce(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokens.map((token) => ({
      path: '/token/introspection',
      method: 'POST',
      headers,
      form: { token },
      expected: '"active":true',
    })),
  )
})
