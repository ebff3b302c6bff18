import { Badge } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, usePages } from '../lib/api.ts'
import type { SigningKey } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { signingKeys: words } = texts

/** What access tokens are signed by. */
export function SigningKeysPage() {
  const keys = usePages<SigningKey>(['signing-keys'], (cursor) =>
    ask((api) => api['signing-keys'].get({ query: cursor })),
  )
  return (
    <Page
      title={texts.pages['signing-keys']}
      lead={words.lead}
      actions={
        <Confirm
          button={texts.actions.rotate}
          title={words.rotateTitle}
          isDangerous={false}
          act={() => ask((api) => api['signing-keys'].rotate.post())}
          done={words.rotated}
        >
          <p>{words.rotateLead}</p>
        </Confirm>
      }
    >
      <List of={keys} none={words.none}>
        {(rows) => (
          <Table<SigningKey>
            label={texts.pages['signing-keys']}
            rows={rows}
            idOf={({ kid }) => kid}
            columns={[
              { head: words.kid, cell: ({ kid }) => <code>{kid}</code> },
              { head: texts.keys.status, cell: ({ state }) => <Badge state={state} /> },
              { head: words.algorithm, cell: ({ algorithm }) => algorithm },
              { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
              { head: words.signsFrom, cell: ({ signs_from }) => <Time at={signs_from} none="" /> },
              {
                head: texts.actions.revoke,
                cell: ({ kid, state }) =>
                  state === 'revoked' ? null : (
                    <Confirm
                      button={texts.actions.revoke}
                      title={words.revokeTitle}
                      isPlain
                      act={() => ask((api) => api['signing-keys']({ kid }).revoke.post())}
                      done={words.revoked}
                    >
                      <p>{words.revokeLead}</p>
                    </Confirm>
                  ),
              },
            ]}
          />
        )}
      </List>
    </Page>
  )
}
