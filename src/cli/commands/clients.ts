import { Value } from '@sinclair/typebox/value'
import { SYSTEM } from '../../core/audit/audit.ts'
import { createClient, listClients, removeClient, requireClientNamed } from '../../core/clients/clients.ts'
import { CLIENT_GRANTS, NewOAuthClient } from '../../core/clients/model.ts'
import { OPERATOR } from '../../core/principal.ts'
import { failField } from '../../lib/errors.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { table, withMore } from '../terminal.ts'

const SOURCES = ['registered', 'metadata', 'dynamic'] as const
const KINDS = ['public', 'confidential'] as const
/** Short names of the grants, for a command line. */
const GRANTS = new Map([
  ['code', CLIENT_GRANTS[0]],
  ['refresh', CLIENT_GRANTS[1]],
  ['device', CLIENT_GRANTS[2]],
])

/** `latchkey clients …`. */
export const commands = {
  'clients list': defineCommand({
    kind: 'service',
    examples: ['clients list', 'clients list --source metadata --json'],
    options: {
      source: { takes: 'SOURCE', choices: SOURCES, summary: 'Only those that came this way' },
      ...pageOptions,
    },
    run: (context, { source, limit, cursor }) =>
      listClients(context, {
        source,
        limit: Number(limit ?? DEFAULT_LIMIT),
        ...(cursor !== undefined && { cursor }),
      }),
    show({ items, next_cursor }) {
      const rows = items.map((client) => [
        client.name,
        client.kind,
        client.source,
        client.is_active ? 'active' : 'disabled',
        client.last_used_at ?? '-',
        client.client_id,
      ])
      const headings = ['NAME', 'KIND', 'SOURCE', 'STATE', 'LAST USED', 'CLIENT ID']
      return withMore(table(headings, rows) || 'No clients.', next_cursor)
    },
  }),

  'clients create': defineCommand({
    kind: 'service',
    details: `
A confidential client runs where its users cannot read its secret; any other is public. The secret is shown this once. Without
--scopes it may get any scope but Latchkey's own. A redirect URI that contains a comma is registered by the API.`,
    examples: [
      'clients create --name Notes --kind public --redirect-uris http://127.0.0.1/callback',
      'clients create --name Portal --kind confidential --redirect-uris https://app.example.com/cb --first-party',
    ],
    options: {
      name: { takes: 'TEXT', required: true, summary: 'The name that people see' },
      kind: { takes: 'KIND', choices: KINDS, required: true, summary: 'public or confidential' },
      'redirect-uris': { takes: 'LIST', summary: 'Where people come back, with commas' },
      'post-logout-redirect-uris': { takes: 'LIST', summary: 'Where people come back from a log-out' },
      grants: { takes: 'LIST', summary: 'Of code, refresh and device; code,refresh unless given' },
      scopes: { takes: 'LIST', summary: 'The most that it gets' },
      'first-party': { summary: 'It is one of your own: people are not asked for consent' },
      'jwks-uri': { takes: 'URL', summary: 'Where its public keys are, in place of a secret' },
    },
    run(context, given) {
      const uris = readList(given['redirect-uris'])
      const afterLogout = readList(given['post-logout-redirect-uris'])
      const input = {
        name: given.name,
        kind: given.kind,
        redirect_uris: uris,
        post_logout_redirect_uris: afterLogout,
        grants: readList(given.grants ?? 'code,refresh').map((name) => GRANTS.get(name) ?? name),
        ...(given.scopes !== undefined && { scopes: given.scopes }),
        first_party: given['first-party'],
        ...(given['jwks-uri'] !== undefined && { jwks_uri: given['jwks-uri'] }),
      }
      const wrong = Value.Errors(NewOAuthClient, input).First()
      if (wrong) failField(wrong.path.slice(1).replaceAll('_', '-'), `Is not accepted: ${wrong.message}`)
      return createClient(context, SYSTEM, OPERATOR, input as NewOAuthClient)
    },
    show: ({ name, client_id, secret }) =>
      `Client ${name} made.\nclient_id: ${client_id}${secret === undefined ? '' : `\nclient_secret: ${secret}\nThe secret is not shown again.`}`,
  }),

  'clients delete': defineCommand({
    kind: 'service',
    details: 'Ends all its sessions, and deletes what people allowed it.',
    examples: ['clients delete 01993c1e-7b7c-7cc2-9d2e-3f0a4b5c6d7e'],
    positionals: { which: { label: 'CLIENT_ID', summary: 'The client' } },
    async run(context, { which }) {
      const { id, name } = await requireClientNamed(context, which)
      await removeClient(context, SYSTEM, OPERATOR, id)
      return { id, name }
    },
    show: ({ id, name }) => `Client ${name} is deleted (id ${id}).`,
  }),
}

const readList = (text = ''): string[] => text.split(/[\s,]+/).filter((part) => part !== '')
