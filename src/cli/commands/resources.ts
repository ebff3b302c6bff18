import { Value } from '@sinclair/typebox/value'
import { SYSTEM } from '../../core/audit/audit.ts'
import { OPERATOR } from '../../core/principal.ts'
import { NewResource } from '../../core/resources/model.ts'
import {
  createResource,
  listResources,
  removeResource,
  requireResourceNamed,
} from '../../core/resources/resources.ts'
import { failField } from '../../lib/errors.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { table, withMore } from '../terminal.ts'

/** `latchkey resources …`. */
export const commands = {
  'resources list': defineCommand({
    kind: 'service',
    details: "Latchkey's own resource is the last one.",
    examples: ['resources list', 'resources list --json'],
    options: pageOptions,
    run: (context, { limit, cursor }) =>
      listResources(context, {
        limit: Number(limit ?? DEFAULT_LIMIT),
        ...(cursor !== undefined && { cursor }),
      }),
    show({ items, next_cursor }) {
      const rows = items.map((resource) => [
        resource.slug,
        resource.name,
        resource.is_active ? 'active' : 'disabled',
        resource.identifier,
        resource.id,
      ])
      return withMore(table(['SLUG', 'NAME', 'STATE', 'IDENTIFIER', 'ID'], rows), next_cursor)
    },
  }),

  'resources create': defineCommand({
    kind: 'service',
    details: `
The identifier is the "aud" of each token and never changes. A scope is its name, and after "=" what people read where they are
asked for consent; scopes are separated by ";".`,
    examples: [
      'resources create --identifier https://notes.example.com/mcp --slug notes --name Notes --scopes "notes:read=Read your notes; notes:write=Change your notes"',
    ],
    options: {
      identifier: { takes: 'URL', required: true, summary: 'An https URL' },
      slug: { takes: 'SLUG', required: true, summary: 'Its name in resource= of forward-auth' },
      name: { takes: 'TEXT', required: true, summary: 'The name that people see' },
      scopes: { takes: 'LIST', summary: 'Scopes that any active person may grant' },
      'ceiling-scopes': { takes: 'LIST', summary: 'Scopes that only people who hold them may grant' },
      'token-lifetime-seconds': { takes: 'N', range: [60, 3600], summary: 'How long a token lives' },
    },
    run(context, { identifier, slug, name, ...given }) {
      const lifetime = given['token-lifetime-seconds']
      const input = {
        identifier,
        slug,
        name,
        scopes: [...readScopes(given.scopes, 'everyone'), ...readScopes(given['ceiling-scopes'], 'ceiling')],
        ...(lifetime !== undefined && { token_lifetime_seconds: Number(lifetime) }),
      }
      const wrong = Value.Errors(NewResource, input).First()
      if (wrong) failField(wrong.path.slice(1).replaceAll('_', '-'), `Is not accepted: ${wrong.message}`)
      return createResource(context, SYSTEM, OPERATOR, input)
    },
    show: ({ name, slug, identifier, id }) => `Resource ${name} (${slug}) made for ${identifier} (id ${id}).`,
  }),

  'resources delete': defineCommand({
    kind: 'service',
    details: 'Ends every session of an app for it, and deletes what people allowed for it.',
    examples: ['resources delete notes'],
    positionals: { which: { label: 'ID|SLUG', summary: 'The resource' } },
    async run(context, { which }) {
      const { id, slug } = await requireResourceNamed(context, which)
      await removeResource(context, SYSTEM, OPERATOR, id)
      return { id, slug }
    },
    show: ({ id, slug }) => `Resource ${slug} is deleted (id ${id}).`,
  }),
}

function readScopes<By extends 'everyone' | 'ceiling'>(text: string | undefined, grantable_by: By) {
  const parts = (text ?? '').split(';').map((part) => part.trim())
  return parts
    .filter((part) => part !== '')
    .map((part) => {
      const [name = '', ...words] = part.split('=')
      return { name: name.trim(), description: words.join('=').trim() || name.trim(), grantable_by }
    })
}
