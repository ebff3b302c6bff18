import { useState } from 'react'
import { ask } from '../lib/api.ts'
import { formatCount, formatNumber } from '../lib/format.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Field } from './field.tsx'
import { textIn } from './form.tsx'
import { notify } from './notices.tsx'

const { revokeMany: words } = texts
type Selector = { ids: string[] } | { user_id: string } | { service_account_id: string }
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
    if (answer.remaining === 0 || answer.revoked === 0) break
  }
  notify(words.done(formatCount(revoked, 'key')))
}

/** Revokes the keys that were chosen. */
export function RevokeSelected({ ids, onDone }: { ids: string[]; onDone(): void }) {
  const keys = formatCount(ids.length, 'key')
  const [progress, setProgress] = useState<Progress | null>(null)
  return (
    <Confirm
      button={words.button(keys)}
      title={words.title}
      act={(fields) => revokeAll({ ids }, fields, setProgress)}
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
  keys,
  disable,
}: {
  selector: Selector
  name: string
  keys: string
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
        await revokeAll(selector, fields, setProgress)
      }}
      onDone={() => setProgress(null)}
    >
      <p>{words.ofOwnerLead(keys)}</p>
      <Reason />
      <Done of={progress} />
    </Confirm>
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
