import type { ask } from '../lib/api.ts'
import type { Session } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Badge } from './badge.tsx'
import { Confirm } from './confirm.tsx'
import { Table } from './table.tsx'
import { Time } from './time.tsx'

const { account: words } = texts

/** Sessions, each with a button that ends it; the one that is looking has none. */
export function SessionTable({
  sessions,
  end,
}: {
  sessions: readonly Session[]
  end(id: string): ReturnType<typeof ask>
}) {
  return (
    <Table<Session>
      label={words.sessions}
      rows={sessions}
      idOf={({ id }) => id}
      columns={[
        {
          head: words.session,
          cell: ({ current, user_agent, kind }) => (
            <>
              <span title={user_agent ?? undefined}>{describeAgent(user_agent, kind)}</span>{' '}
              {current && <Badge state="current" />}
            </>
          ),
        },
        { head: texts.audit.address, cell: ({ ip }) => ip },
        { head: texts.keys.lastUsed, cell: ({ last_used_at }) => <Time at={last_used_at} /> },
        { head: words.signedIn, cell: ({ created_at }) => <Time at={created_at} /> },
        { head: texts.keys.expires, cell: ({ expires_at }) => <Time at={expires_at} /> },
        {
          head: words.end,
          cell: ({ id, current }) =>
            current ? null : (
              <Confirm
                button={words.endOne}
                title={words.endOneTitle}
                isPlain
                act={() => end(id)}
                done={words.ended}
              >
                <p>{words.endOneLead}</p>
              </Confirm>
            ),
        },
      ]}
    />
  )
}

const BROWSERS = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'] as const
const SYSTEMS = ['iPhone', 'iPad', 'Android', 'Windows', 'Mac OS', 'Linux'] as const
const NAMES: Record<string, string> = { Edg: 'Edge', OPR: 'Opera', 'Mac OS': 'macOS' }

/** "Firefox on Windows": the browser and the system that a `User-Agent` names. */
function describeAgent(agent: string | null, kind: string): string {
  const find = (names: readonly string[]) => {
    const name = names.find((each) => agent?.includes(each))
    return name === undefined ? null : (NAMES[name] ?? name)
  }
  const [browser, system] = [find(BROWSERS), find(SYSTEMS)]
  if (browser !== null && system !== null) return words.agent(browser, system)
  return agent?.split(/[ /]/)[0] || words.kinds[kind] || kind
}
