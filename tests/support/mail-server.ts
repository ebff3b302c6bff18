import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ParsedMail, simpleParser } from 'mailparser'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { secret } from '../../src/lib/secret.ts'
import { until } from './until.ts'

/** A mail as it arrived. */
export type Received = ParsedMail & {
  raw: string
  recipients: string[]
  isEncrypted: boolean
  user: string | undefined
}

/** What the server does with the next mails. */
export type Behaviour =
  /** Takes them. */
  | 'take'
  /** Answers the recipient or the whole mail with that code. */
  | { recipient: number }
  | { data: number }
  /** Never answers once it has the mail, or at the greeting. */
  | 'hang'
  | 'hang-at-once'
  /** Takes the whole mail, and cuts the connection before it answers. */
  | 'die-after-data'
  /** Takes it, and does that before it answers. */
  | { beforeAnswer(): Promise<void> }

/** A certificate of its own for `names`; openssl makes it. */
export function makeCertificate(names: string): { key: string; cert: string } {
  const home = mkdtempSync(join(tmpdir(), 'latchkey-mail-'))
  try {
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=mail']
    const files = ['-addext', `subjectAltName=${names}`, '-keyout', 'key.pem', '-out', 'cert.pem']
    const { exitCode, stderr } = Bun.spawnSync(['openssl', ...request, ...files], { cwd: home })
    if (exitCode !== 0) throw new Error(`openssl: ${stderr}`)
    const read = (name: string) => readFileSync(join(home, name), 'utf8')
    return { key: read('key.pem'), cert: read('cert.pem') }
  } finally {
    rmSync(home, { recursive: true })
  }
}

/**
 * A real mail server. Each mail that it takes is parsed.
 * @param options.users who may log in; without it no client has to
 */
export async function startMailServer({
  host = '127.0.0.1',
  users,
  ...options
}: SMTPServerOptions & { host?: string; users?: Record<string, string> } = {}) {
  let behaviour: Behaviour = 'take'
  const received: Received[] = []
  /** Recipients of each mail that was begun. */
  const tried: string[] = []
  const refusal = (code: number) => Object.assign(new Error(`Refused with ${code}`), { responseCode: code })
  const server = new SMTPServer({
    authOptional: users === undefined,
    disabledCommands: [...(options.key ? [] : ['STARTTLS']), ...(users ? [] : ['AUTH'])],
    disableReverseLookup: true,
    closeTimeout: 100,
    ...options,
    onConnect(_, done) {
      if (behaviour !== 'hang-at-once') done()
    },
    onAuth({ username = '', password }, _, done) {
      if (users?.[username] === password) done(null, { user: username })
      else done(refusal(535))
    },
    onRcptTo({ address }, _, done) {
      tried.push(address)
      if (typeof behaviour === 'object' && 'recipient' in behaviour) done(refusal(behaviour.recipient))
      else done()
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', async () => {
        const present = behaviour
        if (present === 'hang') return
        if (typeof present === 'object' && 'data' in present) return done(refusal(present.data))
        const raw = Buffer.concat(chunks)
        const mail = await simpleParser(raw)
        const recipients = session.envelope.rcptTo.map(({ address }) => address)
        received.push({
          ...mail,
          raw: String(raw),
          recipients,
          isEncrypted: session.secure,
          user: session.user,
        })
        if (present === 'die-after-data') return closeAll()
        if (typeof present === 'object' && 'beforeAnswer' in present) await present.beforeAnswer()
        done()
      })
    },
  })
  /** The server's open connections, by its own list. */
  const closeAll = () => {
    const { connections } = server as unknown as {
      connections: Set<{ close(): void; _socket: { destroy(): void } }>
    }
    for (const connection of connections) connection._socket.destroy()
  }
  server.on('error', () => {})
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.server.address() as AddressInfo
  const to = (email: string) => received.filter(({ recipients }) => recipients.includes(email))
  return {
    port,
    url: `smtp://${host}:${port}`,
    /** Settings with which a service sends here. */
    settings: { smtpUrl: secret(`smtp://${host}:${port}`), mailFrom: 'Latchkey <no-reply@auth.example.com>' },
    received,
    tried,
    to,
    behave(next: Behaviour) {
      behaviour = next
    },
    /** The mail number `count` to an address. */
    async next(email: string, count = 1): Promise<Received> {
      await until(() => to(email).length >= count, `mail ${count} to ${email} arrives`)
      const mail = to(email)[count - 1]
      if (!mail) throw new Error('It is gone')
      return mail
    },
    async stop() {
      closeAll()
      await new Promise<void>((resolve) => server.close(resolve))
    },
  }
}

/** The token of the link in a mail: the same in the text and in the HTML. */
export function tokenIn({ text = '', html }: Received): string {
  const [, inText = ''] = /\?token=(\w+)/.exec(text) ?? []
  const [, inHtml = ''] = /\?token=(\w+)/.exec(String(html)) ?? []
  if (inText === '' || inText !== inHtml) throw new Error(`No link in:\n${text}`)
  return inText
}
