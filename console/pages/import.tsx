import { useState } from 'react'
import { Link } from 'wouter'
import { Badge } from '../components/badge.tsx'
import { Command } from '../components/empty.tsx'
import { Field, Select } from '../components/field.tsx'
import { Card, Page } from '../components/page.tsx'
import { Problem } from '../components/problem.tsx'
import { Table } from '../components/table.tsx'
import { useChange } from '../lib/api.ts'
import { formatCount, formatNumber } from '../lib/format.ts'
import { importKeys, type Placed, readFile } from '../lib/import.ts'
import { useParam } from '../lib/params.ts'
import { texts } from '../texts.ts'

const { import: words } = texts
const EXAMPLE = `[
  {
    "name": "checkout",
    "owner": { "email": "bob@example.com" },
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "scopes": "read"
  }
]`

type Step = { keys: readonly unknown[]; isDryRun: boolean }

/** Takes over keys from elsewhere: a file is tried first, and imported when its results are as they should be. */
export function ImportPage() {
  const [placed, setPlaced] = useState<readonly Placed[]>([])
  const [step, setStep] = useState<Step | null>(null)
  const send = useChange(({ keys, isDryRun }: Step) => importKeys(keys, isDryRun, setPlaced))
  const run = (next: Step) => {
    setStep(next)
    send.mutate(next)
  }
  const choose = useChange(readFile, { onDone: (keys) => run({ keys, isDryRun: true }) })
  const error = choose.error ?? send.error
  const isTried = step?.isDryRun === true && send.isSuccess
  const fresh = placed.filter(({ status }) => status === 'imported').length
  return (
    <Page title={texts.pages.import} lead={words.lead}>
      <Card title={words.file}>
        <Field
          label={words.choose}
          hint={words.chooseHint}
          type="file"
          accept="application/json,.json"
          disabled={send.isPending}
          onChange={({ target }) => {
            const [file] = target.files ?? []
            setStep(null)
            setPlaced([])
            if (file) choose.mutate(file)
          }}
        />
        {step === null && (
          <details open>
            <summary>{words.example}</summary>
            <Command text={EXAMPLE} />
            <p className="quiet">{words.exampleLead}</p>
          </details>
        )}
        {error && <Problem error={error} {...(send.error && { more: words.again })} />}
      </Card>
      {step && (
        <Card
          title={step.isDryRun ? words.tried : words.imported}
          actions={
            isTried &&
            fresh > 0 && (
              <button type="button" onClick={() => run({ ...step, isDryRun: false })}>
                {words.button(formatCount(fresh, 'key'))}
              </button>
            )
          }
        >
          <Progress done={placed.length} all={step.keys.length} isPending={send.isPending} />
          <Results of={placed} isDryRun={step.isDryRun} />
        </Card>
      )}
    </Page>
  )
}

function Progress({ done, all, isPending }: { done: number; all: number; isPending: boolean }) {
  const said = words.progress(formatNumber(done), formatNumber(all))
  return (
    <p role="status">
      {isPending && <progress aria-label={said} value={done} max={all} />} {said}
    </p>
  )
}

const SHOWN = 100

function Results({ of: placed, isDryRun }: { of: readonly Placed[]; isDryRun: boolean }) {
  const [status, setStatus] = useParam('status')
  const [shown, setShown] = useState(SHOWN)
  if (placed.length === 0) return null
  const nameOf = (state: Placed['status']) => (isDryRun && state === 'imported' ? 'new' : state)
  const countOf = (state: Placed['status']) => placed.filter((each) => each.status === state).length
  const states = ['imported', 'already_imported', 'refused'] as const
  const rows = placed.filter((each) => status === '' || each.status === status)
  return (
    <>
      <div className="filters">
        <Select
          label={texts.keys.status}
          value={status}
          onChange={({ target }) => setStatus(target.value)}
          options={[
            ['', `${texts.keys.anyStatus} (${formatNumber(placed.length)})`],
            ...states.map(
              (state) => [state, `${texts.states[nameOf(state)]} (${formatNumber(countOf(state))})`] as const,
            ),
          ]}
        />
      </div>
      <Table<Placed>
        label={words.results}
        rows={rows.slice(0, shown)}
        idOf={({ at }) => String(at)}
        columns={[
          {
            head: texts.fields.name,
            cell: ({ name, id }) =>
              id !== null && !isDryRun ? (
                <Link href={`/keys/${id}`} className="name">
                  <bdi>{name ?? id}</bdi>
                </Link>
              ) : (
                <bdi>{name ?? words.noName}</bdi>
              ),
          },
          { head: words.place, cell: ({ at }) => formatNumber(at), isNumber: true },
          { head: texts.keys.owner, cell: ({ owner }) => owner && <bdi>{owner}</bdi> },
          {
            head: words.result,
            cell: (each) => (
              <>
                <Badge state={nameOf(each.status)} />
                {each.error !== null && <small>{each.error}</small>}
              </>
            ),
          },
        ]}
      />
      {rows.length > shown && (
        <button type="button" className="plain" onClick={() => setShown(shown + SHOWN)}>
          {texts.actions.more}
        </button>
      )}
    </>
  )
}
