import { useState } from 'react'
import { Confirm } from '../components/confirm.tsx'
import { Select } from '../components/field.tsx'
import { textIn } from '../components/form.tsx'
import { nameOf } from '../components/key-cells.tsx'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { ask } from './api.ts'
import { Secret } from './secret.tsx'

/** Gives a key a new secret, which is shown once. */
export function Rotate({ of: key }: { of: Key }) {
  const [secret, setSecret] = useState<string | null>(null)
  return (
    <>
      <Confirm
        button={texts.actions.rotate}
        title={texts.portal.rotateTitle(nameOf(key))}
        isDangerous={false}
        isPlain
        act={async (fields) => {
          const overlap_seconds = Number(textIn(fields, 'overlap'))
          const made = await ask((api) => api.keys({ id: key.id }).rotate.post({ overlap_seconds }))
          setSecret(made.key)
        }}
      >
        <p>{texts.portal.rotateLead}</p>
        <Select
          label={texts.key.overlap}
          name="overlap"
          path="/overlap_seconds"
          defaultValue="86400"
          options={Object.entries(texts.key.overlaps)}
        />
      </Confirm>
      {secret !== null && <Secret text={secret} onDone={() => setSecret(null)} />}
    </>
  )
}
