import { useEffect, useState } from 'react'
import { ask, useAsk } from '../lib/api.ts'
import { formatCount, formatNumber } from '../lib/format.ts'
import { readKeys } from '../lib/keys.ts'
import { asRefusal, type Refusal } from '../lib/refusal.ts'
import type { KeysQuery } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Field } from './field.tsx'
import { textIn } from './form.tsx'
import { notify } from './notices.tsx'
import { Problem } from './problem.tsx'

const { revokeMany: words } = texts
type Owner = { user_id: string } | { service_account_id: string }
type Selector = { ids: string[] } | Owner
type Progress = { revoked: number; remaining: number }

/** Revokes until nothing is left: one request revokes a part. */
async function revokeAll(selector: Selector, fields: FormData, onProgress: (progress: Progress) => void) {
  const reason = textIn(fields, 'reason')
  const input = { ...selector, ...(reason !== undefined && { reason }) }
  let revoked = 0
  for (;;) {
    const answer = await ask((api) => api.keys.revoke.post(input))
    revoked += answer.revoked
    onProgress({ revoked, remaining: answer.remaining })
    // What is left and cannot be revoked would be asked for without an end.
    if (answer.remaining === 0 || answer.revoked === 0) return revoked
  }
}

const sayDone = (revoked: number) => notify(words.done(formatCount(revoked, 'key')))

/** How many keys of an owner would be revoked now, in words. The API counts them, and revokes nothing. */
export function KeysOf({ owner, children }: { owner: Owner; children(keys: string): string }) {
  const count = useAsk(['keys', 'live', owner], (api) => api.keys.revoke.post({ ...owner, dry_run: true }))
  const remaining = count.data?.remaining
  return <p>{children(remaining === undefined ? words.its : formatCount(remaining, 'key'))}</p>
}

/** Revokes the keys that were chosen. */
export function RevokeSelected({ ids, onDone }: { ids: string[]; onDone(): void }) {
  const keys = formatCount(ids.length, 'key')
  const [progress, setProgress] = useState<Progress | null>(null)
  return (
    <Confirm
      button={words.button(keys)}
      title={words.title}
      act={async (fields) => sayDone(await revokeAll({ ids }, fields, setProgress))}
      onDone={onDone}
    >
      <p>{words.lead(keys)}</p>
      <Reason />
      <Done of={progress} />
    </Confirm>
  )
}

/** Disables an owner, so that no key is made meanwhile, and revokes every key of theirs. */
export function RevokeOfOwner({
  selector,
  name,
  disable,
}: {
  selector: Owner
  name: string
  disable(): Promise<unknown>
}) {
  const [progress, setProgress] = useState<Progress | null>(null)
  return (
    <Confirm
      button={words.ofOwner}
      title={words.ofOwnerTitle}
      word={name}
      isPlain
      act={async (fields) => {
        await disable()
        sayDone(await revokeAll(selector, fields, setProgress))
      }}
      onDone={() => setProgress(null)}
    >
      <KeysOf owner={selector}>{words.ofOwnerLead}</KeysOf>
      <Reason />
      <Done of={progress} />
    </Confirm>
  )
}

/** How many keys one revocation of a filter collects at most, and how many a request revokes. */
const MOST_FOUND = 10_000
const PART = 1_000

/** Revokes every key that a filter finds: first all of them are read, so that the person knows how many they are. */
export function RevokeFound({ filter }: { filter: KeysQuery }) {
  const [progress, setProgress] = useState<Progress | null>(null)
  const [found, setFound] = useState<readonly string[]>([])
  const revoke = async (fields: FormData) => {
    let revoked = 0
    for (let at = 0; at < found.length; at += PART) {
      revoked += await revokeAll({ ids: found.slice(at, at + PART) }, fields, () => undefined)
      setProgress({ revoked, remaining: Math.max(0, found.length - at - PART) })
    }
    sayDone(revoked)
  }
  return (
    <Confirm
      button={words.found}
      title={words.foundTitle}
      word={words.foundWord}
      isPlain
      act={revoke}
      onDone={() => setProgress(null)}
    >
      <Found filter={filter} onFound={setFound} />
      <Reason />
      <Done of={progress} />
    </Confirm>
  )
}

/** Reads the whole list, and tells how long it is. */
function Found({ filter, onFound }: { filter: KeysQuery; onFound(ids: readonly string[]): void }) {
  const [read, setRead] = useState({ count: 0, isWhole: false, isCut: false })
  const [error, setError] = useState<Refusal | null>(null)
  // biome-ignore lint/correctness/useExhaustiveDependencies: it reads once, as it opens
  useEffect(() => {
    let isClosed = false
    const readAll = async () => {
      const ids: string[] = []
      for (let cursor: string | null = ''; cursor !== null && ids.length < MOST_FOUND && !isClosed; ) {
        const page: Awaited<ReturnType<typeof readKeys>> = await readKeys({
          ...filter,
          ...(cursor !== '' && { cursor }),
          limit: 100,
        })
        for (const { id, revoked_at } of page.items) if (revoked_at === null) ids.push(id)
        cursor = page.next_cursor
        setRead({ count: ids.length, isWhole: cursor === null, isCut: page.isTruncated || cursor !== null })
      }
      if (isClosed) return
      setRead((before) => ({ ...before, isWhole: true }))
      onFound(ids)
    }
    onFound([])
    readAll().catch((refused: unknown) => setError(asRefusal(refused)))
    return () => {
      isClosed = true
    }
  }, [])
  if (error) return <Problem error={error} />
  const keys = formatCount(read.count, 'key')
  if (!read.isWhole) return <p role="status">{words.foundCounting(keys)}</p>
  return (
    <p role="status">
      {read.count === 0 ? words.foundNone : words.foundLead(keys)} {read.isCut && words.foundMost}
    </p>
  )
}

const Reason = () => (
  <Field label={texts.revoke.reason} name="reason" path="/reason" maxLength={500} autoComplete="off" />
)

function Done({ of: progress }: { of: Progress | null }) {
  if (progress === null) return null
  const { revoked, remaining } = progress
  const said = words.progress(formatNumber(revoked), formatNumber(remaining))
  return (
    <p role="status">
      <progress aria-label={said} value={revoked} max={revoked + remaining} /> {said}
    </p>
  )
}
