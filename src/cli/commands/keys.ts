import { Value } from '@sinclair/typebox/value'
import { SYSTEM } from '../../core/audit/audit.ts'
import { TopUp } from '../../core/credits/model.ts'
import { createKey } from '../../core/keys/create.ts'
import { topUpKey } from '../../core/keys/credit.ts'
import { revokeKey } from '../../core/keys/end.ts'
import { listVisibleKeys } from '../../core/keys/list.ts'
import {
  DEFAULT_OVERLAP_SECONDS,
  LISTED_STATUSES,
  MAX_OVERLAP_SECONDS,
  RevokeQuery,
} from '../../core/keys/model.ts'
import { presentKey, presentOwner } from '../../core/keys/present.ts'
import { operator, requireKey } from '../../core/keys/reach.ts'
import { rotateKey } from '../../core/keys/rotate.ts'
import { requireUserId } from '../../core/users/accounts.ts'
import { MAX_COST, type VerifyRequest, type VerifyResult } from '../../core/verify/model.ts'
import { verifyKey } from '../../core/verify/verify-key.ts'
import { failField } from '../../lib/errors.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { table } from '../terminal.ts'
import { operatorFor, ownerOptions, readNewKey, requireOneOwner, settingsOptions } from './key-options.ts'

const id = { label: 'ID', summary: 'The key' }

/** `latchkey keys …`. */
export const commands = {
  'keys create': defineCommand({
    kind: 'service',
    details: `
Name the key's owner by --user or --service-account. The key is printed only once; --json prints the whole answer. A key
has no scope that its owner may not hold: a key with "latchkey:verify" belongs to an admin, or to a service account to
which an admin gave that scope. With --refill but without --credits, the credits start at the amount of the refill.`,
    examples: [
      'keys create --user user@example.com --name deploy --scopes read,write --expires-in-days 90',
      'keys create --service-account 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --scopes read --allowed-ips 192.0.2.0/24',
    ],
    options: { ...ownerOptions, ...settingsOptions },
    async run(context, args) {
      requireOneOwner(args)
      const { user, 'service-account': account } = args
      if (user === undefined && account === undefined) {
        throw new Error('say whose key it is to be: --user EMAIL|ID or --service-account ID')
      }
      const input = readNewKey(args, account)
      const caller = user === undefined ? operator() : await operatorFor(context, user)
      const { row, key } = await createKey(context, SYSTEM, caller, input)
      return { ...presentKey(row, context.clock()), key }
    },
    show: ({ id, name, scopes, expires_at, key }) =>
      [
        `Key ${name ?? id} made (id ${id}).`,
        `Scopes: ${scopes.join(', ') || 'none'}. Expires: ${expires_at ?? 'never'}.`,
        `Key, shown this once: ${key}`,
      ].join('\n'),
  }),

  'keys list': defineCommand({
    kind: 'service',
    details: `Lists the keys of all owners, newest first, unless an owner is named.`,
    examples: ['keys list --user user@example.com', 'keys list --status active --limit 10000 --json'],
    options: {
      ...ownerOptions,
      'external-id': { takes: 'TEXT', summary: 'Only keys with that external id' },
      status: {
        takes: 'STATUS',
        choices: LISTED_STATUSES,
        summary: `Only keys of that status: ${LISTED_STATUSES.join(', ')}`,
      },
      ...pageOptions,
    },
    async run(context, args) {
      requireOneOwner(args)
      const { user, 'service-account': account, 'external-id': externalId, status, limit, cursor } = args
      const { keys, nextCursor } = await listVisibleKeys(context, operator(), {
        limit: Number(limit ?? DEFAULT_LIMIT),
        ...(user !== undefined && { user_id: await requireUserId(context, user) }),
        ...(account !== undefined && { service_account_id: account }),
        ...(externalId !== undefined && { external_id: externalId }),
        ...(status !== undefined && { status }),
        ...(cursor !== undefined && { cursor }),
      })
      // The time of the service. `show` may run on another machine with another clock.
      const now = context.clock()
      const items = keys.map((key) => ({ ...presentKey(key, now), owner: presentOwner(key) }))
      return { items, next_cursor: nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map((key) => [
        key.start,
        key.name ?? '-',
        key.status,
        key.owner.label ?? key.owner.id,
        key.scopes.join(',') || '-',
        key.expires_at ?? 'never',
        key.last_used_at ?? 'never',
        key.id,
      ])
      const headings = ['START', 'NAME', 'STATE', 'OWNER', 'SCOPES', 'EXPIRES', 'LAST USED', 'ID']
      const list = table(headings, rows) || 'No keys.'
      return next_cursor === null ? list : `${list}\nThere are more: --cursor ${next_cursor}`
    },
  }),

  'keys revoke': defineCommand({
    kind: 'service',
    details: 'A revocation is final. A key that is already revoked keeps its first reason.',
    examples: ['keys revoke 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --reason "found in a log" --created'],
    positionals: { id },
    options: {
      reason: { takes: 'TEXT', summary: 'The reason, for the audit trail' },
      created: { summary: 'Also revoke the keys that this key created' },
    },
    async run(context, { id, reason, created }) {
      if (reason !== undefined && !Value.Check(RevokeQuery.properties.reason, reason)) {
        failField('reason', 'Must be text of at most 500 characters, on one line')
      }
      await revokeKey(context, SYSTEM, operator(), id, { reason: reason ?? null, created })
      return { id }
    },
    show: ({ id }) => `Key ${id} is revoked.`,
  }),

  'keys rotate': defineCommand({
    kind: 'service',
    details:
      'The key keeps its id and settings. The new secret is printed only once. The old one works until the overlap ends.',
    examples: ['keys rotate 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --overlap 3600'],
    positionals: { id },
    options: {
      overlap: {
        takes: 'SECONDS',
        range: [0, MAX_OVERLAP_SECONDS],
        summary: `How many seconds the old secret still works (${DEFAULT_OVERLAP_SECONDS}); 0 ends it at once`,
      },
    },
    async run(context, { id, overlap }) {
      const seconds = Number(overlap ?? DEFAULT_OVERLAP_SECONDS)
      const { row, key } = await rotateKey(context, SYSTEM, operator(), id, seconds)
      return { ...presentKey(row, context.clock()), key }
    },
    show({ id, key, secrets }) {
      const [old] = secrets
      const until = secrets.length > 1 && old?.expires_at ? `works until ${old.expires_at}` : 'works no more'
      return [`Key ${id} has a new secret; the old one ${until}.`, `Key, shown this once: ${key}`].join('\n')
    },
  }),

  'keys credits': defineCommand({
    kind: 'service',
    details: 'Adds to what is left of the credits of a key, or sets it. A number below zero is taken away.',
    examples: [
      'keys credits 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --add 500',
      'keys credits 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --add=-20',
    ],
    positionals: { id },
    options: {
      add: { takes: 'N', summary: 'The credits to add' },
      set: { takes: 'N', summary: 'The credits that are left from then on' },
    },
    async run(context, { id, add, set }) {
      const input = Object.fromEntries(
        Object.entries({ add, set }).flatMap(([name, text]) =>
          text === undefined ? [] : [[name, /^-?\d{1,15}$/.test(text) ? Number(text) : text]],
        ),
      )
      const wrong = Value.Errors(TopUp, input).First()
      if (wrong) failField(wrong.path.slice(1), `Is not accepted: ${wrong.message}`)
      const request = { path: `/keys/${id}/credits`, input, idempotencyKey: null }
      const { remaining } = await topUpKey(context, SYSTEM, operator(), id, request)
      return { id, remaining }
    },
    show: ({ id, remaining }) => `Key ${id} has ${remaining} credits left.`,
  }),

  'keys verify': defineCommand({
    kind: 'service',
    details: `
Reads the key from standard input, or asks for it without echo, because other users could see it on a command line. The
answer is that of POST /keys/verify, but no credits are charged without --cost. Exit code 1 if the key is not valid.`,
    examples: ['keys verify --scopes read --ip 192.0.2.7 < key.txt'],
    options: {
      scopes: { takes: 'LIST', summary: 'The scopes that the key must have, all of them' },
      ip: { takes: 'ADDRESS', summary: 'The address of the client that presents the key' },
      cost: { takes: 'N', range: [0, MAX_COST], summary: 'The credits to charge (0)' },
    },
    async readInput(io) {
      const text = io.isTerminal ? await io.askHidden('Key: ') : await io.readAll()
      if (text === null) throw new Error('given up')
      if (text.trim() === '') throw new Error('there is no key on standard input')
      return text.trim()
    },
    async run(context, { scopes, ip, cost }, input) {
      const question: VerifyRequest = {
        key: input ?? '',
        cost: Number(cost ?? 0),
        ...(scopes !== undefined && { scopes }),
        ...(ip !== undefined && { ip }),
      }
      const verdict = await verifyKey(context, question)
      if (!verdict.key_id || !verdict.owner) return verdict
      // The answer of the API, with the name by which people know the owner.
      const owner = presentOwner(await requireKey(context, operator(), verdict.key_id))
      return { ...verdict, owner }
    },
    show: showVerdict,
    isFailure: (result) => !result.valid,
  }),
}

function showVerdict(verdict: VerifyResult & { owner?: { label?: string | null } }): string {
  const { key_id: id, owner, credits } = verdict
  const lines = [`${verdict.code}${id ? ` (key ${id})` : ''}`]
  if (verdict.missing_scopes) lines.push(`Missing scopes: ${verdict.missing_scopes.join(', ')}`)
  if (verdict.retry_after_seconds !== undefined) lines.push(`Try again in ${verdict.retry_after_seconds} s`)
  if (!verdict.valid) return lines.join('\n')
  if (verdict.name) lines.push(`Name: ${verdict.name}`)
  if (owner) lines.push(`Owner: ${owner.type.replace('_', ' ')} ${owner.label ?? owner.id}`)
  lines.push(`Scopes: ${verdict.scopes?.join(', ') || 'none'}`, `Expires: ${verdict.expires_at ?? 'never'}`)
  if (credits) lines.push(`Credits: ${credits.remaining}`)
  return lines.join('\n')
}
