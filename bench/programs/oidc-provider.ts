/** oidc-provider's introspection of an access token that it gave by client_credentials, with its in-memory adapter. */
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import { announce } from '../support/announcement.ts'

const client = { client_id: 'bench', client_secret: 'only-for-the-bench-and-long-enough-for-it' }
const provider = new Provider('http://localhost', {
  clients: [{ ...client, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false },
  },
})
const server = provider.listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const headers = { Authorization: `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}` }
  const answer = await fetch(`${url}/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  const { access_token: token } = (await answer.json()) as { access_token: string }
  announce(url, { path: '/token/introspection', method: 'POST', headers, form: { token } })
})
