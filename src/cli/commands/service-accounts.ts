import { Value } from '@sinclair/typebox/value'
import { SYSTEM } from '../../core/audit/audit.ts'
import type { Context } from '../../core/context.ts'
import { OPERATOR } from '../../core/principal.ts'
import { addManager, removeManager } from '../../core/service-accounts/change-managers.ts'
import { ServiceAccountPatch } from '../../core/service-accounts/model.ts'
import { presentAccount, presentAccounts } from '../../core/service-accounts/present.ts'
import {
  changeServiceAccount,
  createServiceAccount,
  findAccount,
  findAccountByExternalId,
  listManagedAccounts,
  removeServiceAccount,
  type WholeAccount,
} from '../../core/service-accounts/service-accounts.ts'
import { findUserById, requireUserId } from '../../core/users/accounts.ts'
import { fail, failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId } from '../../lib/ids.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { facts, table, withMore } from '../terminal.ts'

const which = { label: 'ID|EXTERNAL_ID', summary: 'The service account' }
const settings = {
  description: { takes: 'TEXT', summary: 'A description' },
  scopes: { takes: 'LIST', summary: 'What its keys may hold, such as read,write' },
  'external-id': { takes: 'TEXT', summary: 'The id of its customer in your system' },
} as const

/** `latchkey service-accounts …`. */
export const commands = {
  'service-accounts list': defineCommand({
    kind: 'service',
    examples: ['service-accounts list --query acme', 'service-accounts list --limit 10000 --json'],
    options: {
      query: {
        takes: 'TEXT',
        summary: 'Only those whose name, or words of it or of the external id, begin with this',
      },
      ...pageOptions,
    },
    async run(context, { query, limit, cursor }) {
      const page = { limit: Number(limit ?? DEFAULT_LIMIT), ...(cursor !== undefined && { cursor }) }
      const found = await listManagedAccounts(context, OPERATOR, {
        text: query,
        externalId: undefined,
        userId: undefined,
        ...page,
      })
      return { items: await presentAccounts(context, found.rows), next_cursor: found.nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map((account) => [
        account.name,
        account.external_id ?? '-',
        account.is_active ? 'active' : 'disabled',
        account.scopes.join(',') || '-',
        account.created_at,
        account.id,
      ])
      const headings = ['NAME', 'EXTERNAL ID', 'STATE', 'SCOPES', 'CREATED', 'ID']
      return withMore(table(headings, rows) || 'No service accounts.', next_cursor)
    },
  }),

  'service-accounts show': defineCommand({
    kind: 'service',
    examples: ['service-accounts show cust-42'],
    positionals: { which },
    run: async (context, { which }) => showWhole(context, await find(context, which)),
    show: ({ managers, ...account }) =>
      facts({ ...account, managers: managers.map(({ label, id }) => label ?? id) }),
  }),

  'service-accounts create': defineCommand({
    kind: 'service',
    details: `
Without --manager it is the admins'. Its keys hold at most the scopes of the account: without --scopes none. Make one with
"latchkey keys create --service-account ID".`,
    examples: ['service-accounts create --name billing --scopes read,write --manager ada@example.com'],
    options: {
      name: { takes: 'TEXT', required: true, summary: 'The name' },
      ...settings,
      manager: { takes: 'EMAIL|ID', summary: 'A user who manages it' },
    },
    async run(context, { name, manager, ...given }) {
      const { external_id, description, scopes } = readSettings({ name, ...given })
      const input = { name, ...(description && { description }), ...(scopes !== undefined && { scopes }) }
      const userId = manager === undefined ? null : await requireUserId(context, manager)
      const externalId = external_id ? readExternalId('external-id', external_id) : null
      const made = await createServiceAccount(context, SYSTEM, OPERATOR, input, externalId)
      if (userId !== null) await addManager(context, SYSTEM, OPERATOR, made.id, { user_id: userId })
      return showWhole(context, await findAccount(context, made.id))
    },
    show: ({ name, id, scopes }) =>
      `Service account ${name} made (id ${id}).\nScopes: ${scopes.join(', ') || 'none'}.`,
  }),

  'service-accounts update': defineCommand({
    kind: 'service',
    details: 'Changes what is named. An empty text takes the description or the external id away.',
    examples: ['service-accounts update cust-42 --scopes read', 'service-accounts update cust-42 --disable'],
    positionals: { which },
    options: {
      name: { takes: 'TEXT', summary: 'The name' },
      ...settings,
      disable: { summary: 'Disable it: its keys are refused' },
      enable: { summary: 'Enable it again' },
    },
    async run(context, { which, disable, enable, ...given }) {
      if (disable && enable) throw new Error('--disable and --enable exclude each other')
      const { id } = await find(context, which)
      const patch = { ...readSettings(given), ...((disable || enable) && { is_active: enable }) }
      if (Object.keys(patch).length === 0) throw new Error('say what is to change')
      return showWhole(context, await changeServiceAccount(context, SYSTEM, OPERATOR, id, patch))
    },
    show: ({ name, id }) => `Service account ${name} is changed (id ${id}).`,
  }),

  'service-accounts delete': defineCommand({
    kind: 'service',
    details: 'Deletes it with all its keys, for good; what the audit trail says of it stays.',
    examples: ['service-accounts delete cust-42'],
    positionals: { which },
    async run(context, { which }) {
      const { id, name } = await find(context, which)
      await removeServiceAccount(context, SYSTEM, OPERATOR, id)
      return { id, name }
    },
    show: ({ id, name }) => `Service account ${name} is deleted (id ${id}).`,
  }),

  'service-accounts managers': defineCommand({
    kind: 'service',
    details:
      "Lists who manages it, after the change where there is one. Without a manager it is the admins'.",
    examples: [
      'service-accounts managers cust-42',
      'service-accounts managers cust-42 --add ada@example.com --remove bob@example.com',
    ],
    positionals: { which },
    options: {
      add: { takes: 'EMAIL|ID', summary: 'Add this user' },
      'add-service-account': { takes: 'ID', summary: 'Add this service account' },
      remove: { takes: 'EMAIL|ID', summary: 'Remove this user or service account' },
    },
    async run(context, { which, add, 'add-service-account': account, remove }) {
      const { id } = await find(context, which)
      const gone = remove === undefined || isId(remove) ? remove : await requireUserId(context, remove)
      if (add !== undefined)
        await addManager(context, SYSTEM, OPERATOR, id, { user_id: await requireUserId(context, add) })
      if (account !== undefined)
        await addManager(context, SYSTEM, OPERATOR, id, { service_account_id: account })
      if (gone !== undefined) await removeManager(context, SYSTEM, OPERATOR, id, gone)
      return { items: await nameManagers(context, await findAccount(context, id)) }
    },
    show: ({ items }) =>
      table(
        ['NAME', 'TYPE', 'ID'],
        items.map(({ label, type, id }) => [label ?? '-', type.replace('_', ' '), id]),
      ) || "No managers: it is the admins'.",
  }),
}

/** @throws Problem not_found */
async function find(context: Context, which: string): Promise<WholeAccount> {
  if (isId(which)) return findAccount(context, which)
  return (
    (await findAccountByExternalId(context.db, readExternalId('external-id', which))) ?? fail('not_found')
  )
}

type Settings = { [K in 'name' | keyof typeof settings]?: string | undefined }

/**
 * The members of a change that the options name, by the rules of a request body.
 * @throws Problem validation_failed
 */
function readSettings({ name, description, scopes, 'external-id': externalId }: Settings) {
  const patch = {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description: description || null }),
    ...(scopes !== undefined && { scopes }),
    ...(externalId !== undefined && { external_id: externalId || null }),
  }
  const wrong = Value.Errors(ServiceAccountPatch, patch).First()
  if (wrong) failField(wrong.path.replaceAll('_', '-'), `Is not accepted: ${wrong.message}`)
  return patch
}

/** Managers with the names by which people know them. */
async function nameManagers(context: Context, { managers }: WholeAccount) {
  return Promise.all(
    managers.map(async ({ type, id }) => ({
      type,
      id,
      label:
        type === 'user'
          ? ((await findUserById(context.db, id))?.email ?? null)
          : (await findAccount(context, id)).name,
    })),
  )
}

const showWhole = async (context: Context, account: WholeAccount) => ({
  ...(await presentAccount(context, account)),
  managers: await nameManagers(context, account),
})
