import { SYSTEM } from '../../core/audit/audit.ts'
import { lookUpKeys } from '../../core/keys/look-up.ts'
import { presentKey, presentOwner } from '../../core/keys/present.ts'
import { operator, requireKey } from '../../core/keys/reach.ts'
import { describeRefusals, describeUsage } from '../../core/usage/usage.ts'
import { failField } from '../../lib/errors.ts'
import { defineCommand } from '../command.ts'
import { facts, table } from '../terminal.ts'

const id = { label: 'ID', summary: 'The key' }
const SHA256 = /^[0-9a-fA-F]{64}$/
/** As long as `POST /keys/lookup` takes it. */
const START = /^.{6,32}$/

/** `latchkey keys show|usage|refusals|lookup`. */
export const commands = {
  'keys show': defineCommand({
    kind: 'service',
    examples: ['keys show 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'],
    positionals: { id },
    async run(context, { id }) {
      const key = await requireKey(context, operator(), id)
      return { ...presentKey(key, context.clock()), owner: presentOwner(key) }
    },
    show({ owner, user_id: _, service_account_id: __, ...key }) {
      const label = `${owner.type.replace('_', ' ')} ${owner.label ?? ''} (${owner.id})`
      return facts({ ...key, owner: label })
    },
  }),

  'keys usage': defineCommand({
    kind: 'service',
    details: 'Counts are written every few seconds. Without --from the last 30 days.',
    examples: ['keys usage 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --by day --from 2026-01-01T00:00:00Z'],
    positionals: { id },
    options: {
      from: { takes: 'TIME', summary: 'From this time on, such as 2026-01-31T00:00:00Z' },
      to: { takes: 'TIME', summary: 'Before this time' },
      by: { takes: 'UNIT', choices: ['hour', 'day'], summary: 'hour (the default), or day' },
    },
    async run(context, { id, from, to, by }) {
      const { id: keyId } = await requireKey(context, operator(), id)
      return describeUsage(context, keyId, {
        ...(from !== undefined && { from }),
        ...(to !== undefined && { to }),
        ...(by !== undefined && { bucket: by }),
      })
    },
    show: ({ items }) =>
      table(
        ['AT', 'OUTCOME', 'USES'],
        items.map(({ at, outcome, count }) => [at, outcome, String(count)]),
      ) || 'It was not used.',
  }),

  'keys refusals': defineCommand({
    kind: 'service',
    details: 'The newest first, at most 100, kept for REFUSALS_RETENTION_DAYS.',
    examples: ['keys refusals 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'],
    positionals: { id },
    run: async (context, { id }) => describeRefusals(context, (await requireKey(context, operator(), id)).id),
    show({ items, sampled }) {
      const rows = items.map(({ at, outcome, ip, count }) => [at, outcome, ip ?? '-', String(count)])
      const list = table(['AT', 'OUTCOME', 'ADDRESS', 'TIMES'], rows) || 'It was not refused.'
      return sampled ? `${list}\nThere were more: see "keys usage".` : list
    },
  }),

  'keys lookup': defineCommand({
    kind: 'service',
    details: `
Reads the key from standard input, or asks for it without echo, because other users could see it on a command line. It is
no use of the key: nothing is counted. Exit code 1 if no key is found.`,
    examples: ['keys lookup < found.txt', 'keys lookup --start sk_AbCdEfGh'],
    options: {
      hash: { takes: 'SHA256', summary: 'By the SHA-256 of the whole key, in hexadecimal' },
      start: { takes: 'TEXT', summary: 'By the first characters of the key, as lists show them' },
    },
    async readInput(io, { hash, start }) {
      if (hash !== undefined && start !== undefined) throw new Error('--hash and --start exclude each other')
      if (hash !== undefined || start !== undefined) return null
      const text = io.isTerminal ? await io.askHidden('Key: ') : await io.readAll()
      if (text === null) throw new Error('given up')
      if (text.trim() === '') throw new Error('there is no key on standard input')
      return text.trim()
    },
    async run(context, { hash, start }, input) {
      if (hash !== undefined && !SHA256.test(hash)) failField('hash', 'Must be 64 hexadecimal digits')
      if (start !== undefined && !START.test(start)) failField('start', 'Must have 6 to 32 characters')
      const items = await lookUpKeys(context, SYSTEM, operator(), {
        ...(hash !== undefined && { hash }),
        ...(start !== undefined && { start }),
        ...(input !== null && { key: input }),
      })
      return { items }
    },
    show({ items }) {
      const rows = items.map((key) => [
        key.matched.start,
        key.matched.state,
        key.name ?? '-',
        key.status,
        `${key.owner.label ?? key.owner.id}`,
        key.id,
      ])
      return table(['START', 'SECRET', 'NAME', 'STATE', 'OWNER', 'ID'], rows) || 'No such key.'
    },
    isFailure: ({ items }) => items.length === 0,
  }),
}
