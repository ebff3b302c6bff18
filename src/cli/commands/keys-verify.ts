import type { VerifyRequest } from '../../core/verify/model.ts'
import { verifyKey } from '../../core/verify/verify-key.ts'
import { defineCommand } from '../command.ts'

const MAX_COST = 1_000_000

/** `latchkey keys verify` */
export const command = defineCommand({
  kind: 'service',
  details: `
Reads the key from standard input, or asks for it, unseen: on a command line others would see it. The answer is that of
POST /keys/verify, but nothing is charged unless --cost says so. Exit code 1 where the key is not good.`,
  examples: ['keys verify --scopes read --ip 192.0.2.7 < key.txt'],
  options: {
    scopes: { takes: 'LIST', summary: 'What it is to be good for; all are needed' },
    ip: { takes: 'ADDRESS', summary: 'Where it is shown from' },
    cost: { takes: 'N', range: [0, MAX_COST], summary: 'Credits to take (0)' },
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
    return verifyKey(context, question)
  },
  show: describe,
  isFailure: (result) => !result.valid,
})

type Verdict = {
  valid: boolean
  code: string
  key_id?: string
  name?: string | null
  owner?: { type: string; id: string }
  scopes?: string[]
  expires_at?: string | null
  missing_scopes?: string[]
  retry_after_seconds?: number
  credits?: { remaining: number } | null
}

function describe(verdict: Verdict): string {
  const { key_id: id, owner, credits } = verdict
  const lines = [`${verdict.code}${id ? ` (key ${id})` : ''}`]
  if (verdict.missing_scopes) lines.push(`Missing scopes: ${verdict.missing_scopes.join(', ')}`)
  if (verdict.retry_after_seconds !== undefined) lines.push(`Try again in ${verdict.retry_after_seconds} s`)
  if (!verdict.valid) return lines.join('\n')
  if (verdict.name) lines.push(`Name: ${verdict.name}`)
  if (owner) lines.push(`Owner: ${owner.type.replace('_', ' ')} ${owner.id}`)
  lines.push(`Scopes: ${verdict.scopes?.join(', ') || 'none'}`, `Expires: ${verdict.expires_at ?? 'never'}`)
  if (credits) lines.push(`Credits: ${credits.remaining}`)
  return lines.join('\n')
}
