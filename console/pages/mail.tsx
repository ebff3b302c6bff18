import { Badge } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Empty } from '../components/empty.tsx'
import { Field, Select } from '../components/field.tsx'
import { textIn } from '../components/form.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, usePages } from '../lib/api.ts'
import { formatNumber } from '../lib/format.ts'
import { useMe } from '../lib/me.ts'
import { useParam } from '../lib/params.ts'
import type { Mail, MailsQuery } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { mail: words } = texts

/** What was mailed, what waits, and what failed. */
export function MailPage() {
  const [status, setStatus] = useParam('status')
  const [first] = useParam('cursor')
  const mails = usePages<Mail>(
    ['mails', { status }],
    (cursor) => {
      const query = { ...cursor, ...(status !== '' && { status }) } as MailsQuery
      return ask((api) => api.mails.get({ query }))
    },
    { first },
  )
  return (
    <Page title={texts.pages.mail} lead={words.lead} actions={<SendTest />}>
      <div className="filters">
        <Select
          label={texts.keys.status}
          value={status}
          onChange={({ target }) => setStatus(target.value)}
          options={Object.entries(words.statuses)}
        />
      </div>
      <List
        of={mails}
        empty={
          <Empty title={status === '' ? words.none : words.noneFound}>
            <p>{words.noneLead}</p>
          </Empty>
        }
      >
        {(rows) => (
          <Table<Mail>
            label={texts.pages.mail}
            rows={rows}
            idOf={({ id }) => id}
            columns={[
              { head: words.to, cell: ({ to }) => <bdi>{to}</bdi> },
              { head: words.kind, cell: ({ kind }) => kind.replaceAll('_', ' ') },
              {
                head: texts.keys.status,
                cell: ({ status: state, last_error }) => (
                  <>
                    <Badge state={state} />
                    {last_error !== null && <small>{last_error}</small>}
                  </>
                ),
              },
              { head: words.tries, cell: ({ attempts }) => formatNumber(attempts), isNumber: true },
              { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
              {
                head: words.ended,
                cell: ({ ended_at, next_attempt_at }) =>
                  ended_at !== null ? (
                    <Time at={ended_at} />
                  ) : (
                    next_attempt_at !== null && (
                      <>
                        {words.again} <Time at={next_attempt_at} />
                      </>
                    )
                  ),
              },
              {
                head: texts.actions.actions,
                cell: (mail) => mail.status !== 'sent' && <Retry of={mail} />,
              },
            ]}
          />
        )}
      </List>
    </Page>
  )
}

function Retry({ of: { id, to } }: { of: Mail }) {
  return (
    <Confirm
      button={words.retry}
      title={words.retryTitle}
      isDangerous={false}
      isPlain
      act={() => ask((api) => api.mails({ id }).retry.post())}
      done={words.retried}
    >
      <p>{words.retryLead(to)}</p>
    </Confirm>
  )
}

function SendTest() {
  const me = useMe()
  return (
    <Confirm
      button={words.test}
      title={words.test}
      isDangerous={false}
      act={(fields) => ask((api) => api.mails.test.post({ to: textIn(fields, 'to') ?? '' }))}
      done={words.tested}
    >
      <p>{words.testLead}</p>
      <Field
        label={words.to}
        name="to"
        path="/to"
        type="email"
        autoComplete="email"
        required
        defaultValue={me?.email}
      />
    </Confirm>
  )
}
