import { texts } from '../texts.ts'
import { ask } from './api.ts'
import { Refusal } from './refusal.ts'

/** What became of a key of the file, or would: with its place in the file, and nothing of its secret. */
export type Placed = {
  at: number
  name: string | null
  owner: string | null
  status: 'imported' | 'already_imported' | 'refused'
  id: string | null
  error: string | null
}

/** The API takes 1,000 keys and 8 MiB a request; smaller parts show that it goes on. */
const MAX_PART = 200
const MAX_PART_LENGTH = 2_000_000

/**
 * The keys of a file: a list, or an object with the list as `keys`.
 * @throws Refusal where the file is something else
 */
export async function readFile(file: File): Promise<readonly unknown[]> {
  const refuse = (detail: string): never => {
    throw new Refusal(0, 'unreadable', detail)
  }
  let value: unknown
  try {
    value = JSON.parse(await file.text())
  } catch {
    refuse(texts.import.noJson)
  }
  const keys = Array.isArray(value) ? value : membersOf(value).keys
  if (!Array.isArray(keys) || keys.length === 0) return refuse(texts.import.noKeys)
  return keys
}

const membersOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

/**
 * Sends keys in parts, in their order.
 * @param isDryRun the same results, and nothing is written
 * @param onProgress what became of the keys so far
 */
export async function importKeys(
  keys: readonly unknown[],
  isDryRun: boolean,
  onProgress: (placed: readonly Placed[]) => void,
): Promise<readonly Placed[]> {
  const placed: Placed[] = []
  onProgress(placed)
  while (placed.length < keys.length) {
    const part = partFrom(keys, placed.length)
    const body = { keys: part, dry_run: isDryRun }
    const { results } = await ask((api) => api.keys.import.post(body))
    for (const [at, result] of results.entries()) placed.push(place(part[at], placed.length + 1, result))
    onProgress([...placed])
  }
  return placed
}

function partFrom(keys: readonly unknown[], start: number): unknown[] {
  const part: unknown[] = []
  let length = 0
  for (const key of keys.slice(start, start + MAX_PART)) {
    length += JSON.stringify(key).length
    if (part.length > 0 && length > MAX_PART_LENGTH) break
    part.push(key)
  }
  return part
}

type Result = { status: 'imported' | 'already_imported'; id: string } | { status: 'refused'; error: string }

function place(key: unknown, at: number, result: Result): Placed {
  const { name, owner } = membersOf(key)
  const [whose] = Object.values(membersOf(owner))
  return {
    at,
    name: typeof name === 'string' ? name : null,
    owner: typeof whose === 'string' ? whose : null,
    status: result.status,
    id: 'id' in result ? result.id : null,
    error: 'error' in result ? result.error : null,
  }
}
