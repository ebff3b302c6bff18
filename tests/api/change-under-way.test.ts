import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type postgres from 'postgres'
import {
  CHANGING_ROUTES,
  digest,
  EVERY_KIND,
  type Kind,
  newWorld,
  PORTALS,
  requestOf,
  UNSENT_MAIL,
  type World,
} from '../support/authority.ts'
import { type Answer, call } from '../support/client.ts'
import { connectTo } from '../support/people.ts'
import { startService, type TestService } from '../support/service.ts'

setDefaultTimeout(240_000)

let a: TestService
let b: TestService
let sql: postgres.Sql
/** The connection whose open transaction ends the power, while a request waits for that transaction. */
let holder: postgres.Sql
beforeAll(async () => {
  a = await startService({ ...UNSENT_MAIL, logLevel: 'error' })
  b = await startService({ ...UNSENT_MAIL, logLevel: 'error' }, a)
  ;[sql, holder] = [connectTo(a), connectTo(a)]
})
afterAll(async () => {
  await Promise.all([sql.end(), holder.end()])
  await b.stop()
  await a.stop()
})
let tests = 0
// Few rows, so that comparing all of them is quick.
beforeEach(async () => {
  await sql.unsafe(
    ['users', 'service_accounts', 'oauth_clients', 'resources', 'mails', 'login_attempts', 'usage_reports']
      .map((table) => `DELETE FROM latchkey.${table}`)
      .join(';'),
  )
  if (tests++ % 20 === 0)
    await sql`VACUUM latchkey.users, latchkey.service_accounts, latchkey.sessions, latchkey.api_keys, latchkey.api_key_secrets`
})

type Tx = postgres.TransactionSql
type End = { of: readonly Kind[]; act(tx: Tx, w: World): Promise<unknown>; isDemotion?: true }

/** Whose power ends with the person of the world. */
const PEOPLE = ['admin', 'user'] as const
const KEYS = ['key', 'account key', 'account token'] as const
const ACCOUNT = ['account key', 'account token'] as const
const SIGNED = [...PEOPLE, 'account token'] as const

/**
 * The statements of every way to end a caller's power. Each is tried on `POST /keys`. Of the first of each row, each route is
 * given two in turn, and always the demotion of an admin: which power it needs is the route's own, what that power stands on is not.
 */
const ENDS: Record<string, Record<string, End>> = {
  user: {
    'the user is disabled': {
      of: [...PEOPLE, 'key', ...PORTALS],
      act: (tx, w) => tx`UPDATE latchkey.users SET is_active = false WHERE id = ${w.person.id}`,
    },
    'the user is deleted': {
      of: [...PEOPLE, 'key', ...PORTALS],
      act: (tx, w) => tx`DELETE FROM latchkey.users WHERE id = ${w.person.id}`,
    },
  },
  role: {
    'the admin is demoted': {
      of: ['admin', 'key'],
      act: (tx, w) => tx`UPDATE latchkey.users SET role = 'user' WHERE id = ${w.person.id}`,
      isDemotion: true,
    },
  },
  session: {
    'the session ends': {
      of: PEOPLE,
      act: (tx, w) => tx`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${w.sessionId}`,
    },
    'the session expires': {
      of: PEOPLE,
      act: (tx, w) =>
        tx`UPDATE latchkey.sessions SET expires_at = now() - interval '1 s' WHERE id = ${w.sessionId}`,
    },
    'the session is deleted': {
      of: PEOPLE,
      act: (tx, w) => tx`DELETE FROM latchkey.sessions WHERE id = ${w.sessionId}`,
    },
  },
  key: {
    'the key is revoked': {
      of: KEYS,
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${w.caller.id}`,
    },
    'the key is disabled': {
      of: KEYS,
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET is_active = false WHERE id = ${w.caller.id}`,
    },
    'the key expires': {
      of: KEYS,
      act: (tx, w) =>
        tx`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 s' WHERE id = ${w.caller.id}`,
    },
    'the key is deleted': {
      of: KEYS,
      act: (tx, w) => tx`DELETE FROM latchkey.api_keys WHERE id = ${w.caller.id}`,
    },
    'the key loses its scopes': {
      of: KEYS,
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET scopes = '{}' WHERE id = ${w.caller.id}`,
    },
    'the key is bound to another address': {
      of: KEYS,
      act: (tx, w) =>
        tx`UPDATE latchkey.api_keys SET allowed_ips = '{203.0.113.1/32}' WHERE id = ${w.caller.id}`,
    },
  },
  secret: {
    'the secret is deleted': {
      of: KEYS,
      act: (tx, w) => tx`DELETE FROM latchkey.api_key_secrets WHERE id = ${w.caller.secretId}`,
    },
    'the secret expires': {
      of: KEYS,
      act: (tx, w) => tx`UPDATE latchkey.api_key_secrets SET expires_at = now() - interval '1 s'
        WHERE id = ${w.caller.secretId}`,
    },
  },
  maker: {
    'the key that made the portal session is revoked': {
      of: ['portal'],
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${w.caller.id}`,
    },
    'the key that made it is disabled': {
      of: ['portal'],
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET is_active = false WHERE id = ${w.caller.id}`,
    },
    'the key that made it expires': {
      of: ['portal'],
      act: (tx, w) =>
        tx`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 s' WHERE id = ${w.caller.id}`,
    },
    'the key that made it is deleted': {
      of: ['portal'],
      act: (tx, w) => tx`DELETE FROM latchkey.api_keys WHERE id = ${w.caller.id}`,
    },
    'the key that made it loses its scopes': {
      of: ['portal'],
      act: (tx, w) => tx`UPDATE latchkey.api_keys SET scopes = '{}' WHERE id = ${w.caller.id}`,
    },
  },
  makingAdmin: {
    'the admin who made the portal session is demoted': {
      of: ['admin portal'],
      act: (tx, w) => tx`UPDATE latchkey.users SET role = 'user' WHERE id = ${w.person.id}`,
    },
  },
  portalSession: {
    'the portal session is ended': {
      of: PORTALS,
      act: (tx, w) => tx`UPDATE latchkey.portal_sessions SET ended_at = now() WHERE id = ${w.portalSession}`,
    },
    'the portal session expires': {
      of: PORTALS,
      act: (tx, w) => tx`UPDATE latchkey.portal_sessions SET expires_at = now() - interval '1 s'
        WHERE id = ${w.portalSession}`,
    },
    'the portal session is deleted': {
      of: PORTALS,
      act: (tx, w) => tx`DELETE FROM latchkey.portal_sessions WHERE id = ${w.portalSession}`,
    },
    'the portal session loses its powers': {
      of: PORTALS,
      act: (tx, w) => tx`UPDATE latchkey.portal_sessions SET may = '{read}' WHERE id = ${w.portalSession}`,
    },
  },
  shownAccount: {
    'the account of the portal session is disabled': {
      of: ['portal'],
      act: (tx, w) =>
        tx`UPDATE latchkey.service_accounts SET is_active = false WHERE id = ${w.managedAccount}`,
    },
    'the account of the portal session is deleted': {
      of: ['portal'],
      act: (tx, w) => tx`DELETE FROM latchkey.service_accounts WHERE id = ${w.managedAccount}`,
    },
    'the account of the portal session loses its scopes': {
      of: ['portal'],
      act: (tx, w) => tx`UPDATE latchkey.service_accounts SET scopes = '{}' WHERE id = ${w.managedAccount}`,
    },
  },
  shownUser: {
    'the user of the portal session is disabled': {
      of: ['admin portal'],
      act: (tx, w) => tx`UPDATE latchkey.users SET is_active = false WHERE id = ${w.target.id}`,
    },
    'the user of the portal session becomes an admin': {
      of: ['admin portal'],
      act: (tx, w) => tx`UPDATE latchkey.users SET role = 'admin' WHERE id = ${w.target.id}`,
    },
  },
  account: {
    'the account is disabled': {
      of: ACCOUNT,
      act: (tx, w) => tx`UPDATE latchkey.service_accounts SET is_active = false WHERE id = ${w.account}`,
    },
    'the account is deleted': {
      of: ACCOUNT,
      act: (tx, w) => tx`DELETE FROM latchkey.service_accounts WHERE id = ${w.account}`,
    },
    'the account loses its scopes': {
      of: ACCOUNT,
      act: (tx, w) => tx`UPDATE latchkey.service_accounts SET scopes = '{}' WHERE id = ${w.account}`,
    },
  },
  token: {
    'the token is revoked': {
      of: ['account token'],
      // Like `revokePresented`: an insert into this table locks the secret first.
      act: async (tx, w) => {
        await tx`SELECT 1 FROM latchkey.api_key_secrets WHERE id = ${w.caller.secretId} FOR NO KEY UPDATE`
        await tx`INSERT INTO latchkey.revoked_tokens (id, secret_id, expires_at)
          VALUES (${w.tokenId}, ${w.caller.secretId}, now() + interval '1 hour')`
      },
    },
  },
  signingKey: {
    'the signing key is revoked': {
      of: SIGNED,
      act: (tx, w) => tx`UPDATE latchkey.signing_keys SET revoked_at = now() WHERE id = ${w.signingKeyId}`,
    },
  },
}

const UNDONE = new Error('undone')

/**
 * Ends a caller's power in a transaction, sends the request, waits until the request is blocked by that transaction, then
 * commits or rolls back. So the effect of the request comes after the end of the power, for certain.
 */
async function sendMeanwhile(at: TestService, route: string, w: World, { act }: End, isCommitted: boolean) {
  let sent: Promise<Answer> | undefined
  let before = ''
  await holder
    .begin(async (tx) => {
      await act(tx, w)
      const [{ pid } = { pid: 0 }] = await tx`SELECT pg_backend_pid() AS pid`
      let answer: Answer | undefined
      sent = call(at, ...requestOf(route, w))
      void sent.then((came) => {
        answer = came
      })
      while (
        // The other databases of the server have many connections, which are left out first.
        (
          await sql`SELECT 1 FROM pg_stat_activity WHERE CASE
            WHEN datname = current_database() AND wait_event_type = 'Lock' THEN ${pid} = ANY (pg_blocking_pids(pid)) END`
        ).length === 0
      ) {
        if (answer) throw new Error(`${route} did not wait: ${answer.status} ${answer.text}`)
        await Bun.sleep(2)
      }
      before = await digest(isCommitted ? (tx as unknown as postgres.Sql) : sql)
      if (!isCommitted) throw UNDONE
    })
    .catch((error) => {
      if (error !== UNDONE) throw error
    })
  if (!sent) throw new Error('Nothing was sent')
  const answer = await sent
  return { answer, isChanged: (await digest(sql)) !== before }
}

/** Makes a revoked signing key sign again. */
async function restoreSigningKeys(): Promise<void> {
  await sql`UPDATE latchkey.signing_keys SET revoked_at = NULL`
  for (const at of [a, b]) await at.context.signing.refresh()
}

/** Alternates between the two servers. */
let turn = 0
const nextServer = () => (turn++ % 2 === 0 ? a : b)

async function expectRefused(route: string, kind: Kind, name: string, end: End): Promise<void> {
  const at = nextServer()
  const w = await newWorld(at, sql, kind)
  const { answer, isChanged } = await sendMeanwhile(at, route, w, end, true)
  if (name.startsWith('the signing key')) await restoreSigningKeys()
  const seen = { end: name, status: answer.status, isChanged }
  expect([401, 403, 404]).toContain(seen.status)
  expect(seen).toEqual({ end: name, status: answer.status, isChanged: false })
}

const isOf = (end: End, kind: Kind, route: string) =>
  end.of.includes(kind) && (!end.isDemotion || CHANGING_ROUTES[route]?.isOfAdmins === true)

describe('a change that waits for the end of its caller’s power is refused', () => {
  const rows = Object.entries(CHANGING_ROUTES).flatMap(([route, { by }]) =>
    by.map((kind) => [route, kind] as const),
  )

  const firsts = Object.values(ENDS).flatMap((ways) => Object.entries(ways).slice(0, 1))
  /** The ends that are tried on a route. */
  const due = rows.map(([route, kind], turn) => {
    const all = firsts.filter(([, end]) => isOf(end, kind, route))
    const turns = route === 'POST /keys' ? all.keys() : [turn, turn + 1]
    const chosen = new Set([...turns].map((at) => all[at % all.length]))
    return [route, kind, all.filter((each) => chosen.has(each) || each[1].isDemotion)] as const
  })

  test.each(due)('%s by %s: what it stands on', async (route, kind, ends) => {
    expect(ends.length).toBeGreaterThanOrEqual(2)
    for (const [name, end] of ends) await expectRefused(route, kind, name, end)
  })

  test('each end is tried on several routes, by each kind of caller', () => {
    for (const kind of EVERY_KIND) {
      for (const [name, end] of firsts.filter(([, { of }]) => of.includes(kind))) {
        const tried = due.filter(([, by, ends]) => by === kind && ends.some(([, each]) => each === end))
        expect([kind, name, tried.length > 1]).toEqual([kind, name, true])
      }
    }
  })

  test.each(EVERY_KIND.map((kind) => [kind]))('POST /keys by %s: however it ends', async (kind) => {
    for (const ways of Object.values(ENDS)) {
      for (const [name, end] of Object.entries(ways).slice(1))
        if (isOf(end, kind, 'POST /keys')) await expectRefused('POST /keys', kind, name, end)
    }
  })

  test.each(rows)('%s by %s goes through where nothing ends after all', async (route, kind) => {
    const at = nextServer()
    const w = await newWorld(at, sql, kind)
    const [end] = Object.values(ENDS).flatMap((ways) =>
      Object.values(ways).filter((way) => isOf(way, kind, route)),
    )
    if (!end) throw new Error('Nothing ends it')
    const { answer, isChanged } = await sendMeanwhile(at, route, w, end, false)
    expect([answer.status < 300, isChanged, answer.text]).toEqual([true, true, answer.text])
  })
})

/** Routes where holding the credential is enough, and routes that change nothing. */
const BY_POSSESSION = [
  'POST /keys/lookup',
  'POST /keys/{id}/check',
  // They would rotate and revoke the signing keys that the other cases share.
  'POST /signing-keys/rotate',
  'POST /signing-keys/{kid}/revoke',
  'DELETE /keys/self',
  'POST /auth/passkeys/options',
  'POST /auth/reauthenticate/options',
  'POST /keys/verify',
  'POST /keys/verify-batch',
  'POST /oauth/introspect',
  'POST /region/verify',
  'POST /oauth/userinfo',
  'POST /verify',
]

test('every route that makes a change by a caller’s power is tried', async () => {
  type Operation = { security?: object[] }
  const { paths }: { paths: Record<string, Record<string, Operation>> } = (await call(a, 'GET /openapi.json'))
    .body
  const isGuarded = ({ security = [] }: Operation) =>
    security.length > 0 && security.every((way) => Object.keys(way).length > 0)
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method, operation]) => method !== 'get' && isGuarded(operation))
      .map(([method]) => `${method.toUpperCase()} ${path.replace(/(.)\/$/, '$1')}`),
  )
  const changing = routes.filter(
    (route) => !BY_POSSESSION.includes(route) && !route.includes('/forward-auth'),
  )
  expect(changing.sort()).toEqual(Object.keys(CHANGING_ROUTES).sort())
})
