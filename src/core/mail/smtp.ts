import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { Config } from '../../config/config.ts'
import { isLoopback } from '../../config/network.ts'
import { toOneLine } from './render.ts'

/** One mail as it goes out. */
export type Message = {
  id: string
  to: string
  subject: string
  text: string
  html: string
}

/**
 * The result of a try. `wasHandedOver`: the mail server may have the mail, because the connection ended before its
 * answer. `isFinal`: the mail server refused the mail for good (5xx).
 */
export type Sending =
  | { isSent: true }
  | { isSent: false; wasHandedOver: boolean; isFinal: boolean; error: string }

/** Sends one mail. Never rejects: a failure is an answer. */
export type SendMail = (message: Message) => Promise<Sending>

/** How long a try may take, whatever hangs: the look-up of the name, the connection, the server. */
export const TRY_LASTS_MS = 10_000

const MAX_ERROR_LENGTH = 500

type SmtpConfig = Pick<Config, 'smtpUrl' | 'mailFrom' | 'publicUrl'>

/**
 * Sends by SMTP_URL, each mail over a connection of its own. STARTTLS is required, and its certificate checked, unless the
 * host is this machine.
 * @param options for a test: certificates to trust in place of those of the system, and how long a try may take
 */
export function createSendMail(
  { smtpUrl, mailFrom, publicUrl }: SmtpConfig,
  { ca, lastsMs = TRY_LASTS_MS }: { ca?: string; lastsMs?: number } = {},
): SendMail {
  return async (message) => {
    const url = new URL(smtpUrl?.reveal() ?? '')
    const pass = decodeURIComponent(url.password)
    let connection: SMTPConnection | null = null
    let isHandingOver = false
    const failure = Promise.withResolvers<never>()
    failure.promise.catch(() => {})
    const timer = setTimeout(() => failure.reject(new Error('No answer in time')), lastsMs)
    const step = (begin: (done: (error?: Error | null) => void) => void) =>
      Promise.race([
        failure.promise,
        new Promise<void>((resolve, reject) => begin((error) => (error ? reject(error) : resolve()))),
      ])
    try {
      const { envelope, raw } = await composeMail(message, mailFrom ?? '', publicUrl)
      const opened = await openConnection(url, publicUrl, { ca, lastsMs })
      connection = opened
      opened.on('error', failure.reject)
      await step((done) => opened.connect(done))
      if (url.username !== '') {
        const user = decodeURIComponent(url.username)
        await step((done) => opened.login({ user, pass }, done))
      }
      isHandingOver = true
      await step((done) => opened.send(envelope, raw, done))
      opened.quit()
      return { isSent: true }
    } catch (error) {
      const code = (error as { responseCode?: unknown }).responseCode
      const isAnswered = typeof code === 'number'
      return {
        isSent: false,
        wasHandedOver: isHandingOver && !isAnswered,
        isFinal: isAnswered && code >= 500,
        error: describe(error, pass),
      }
    } finally {
      clearTimeout(timer)
      connection?.close()
    }
  }
}

async function openConnection(
  url: URL,
  publicUrl: string,
  { ca, lastsMs }: { ca: string | undefined; lastsMs: number },
): Promise<SMTPConnection> {
  // Loaded with the first mail: a server that sends none does without it.
  const { default: Connection } = await import('nodemailer/lib/smtp-connection')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const isSecure = url.protocol === 'smtps:'
  const isLocal = isLoopback(host)
  return new Connection({
    host,
    secure: isSecure,
    requireTLS: !isSecure && !isLocal,
    name: new URL(publicUrl).hostname,
    connectionTimeout: lastsMs,
    greetingTimeout: lastsMs,
    socketTimeout: lastsMs,
    dnsTimeout: lastsMs,
    socketCloseTimeout: 0,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      // A relay on this machine has a self-signed certificate, and no network is in between.
      ...(isLocal && !isSecure ? { rejectUnauthorized: false } : {}),
    },
    ...(url.port === '' ? {} : { port: Number(url.port) }),
  })
}

/** Makes the bytes of a mail. Names, addresses and the subject are encoded by the library, none of them by hand. */
async function composeMail(message: Message, mailFrom: string, publicUrl: string) {
  const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
  const { id, to, subject, text, html } = message
  const [, name = '', address = mailFrom] = /^(.+) <([^<>]+)>$/.exec(mailFrom) ?? []
  const node = new MailComposer({
    from: { name, address },
    to: { name: '', address: to },
    subject: toOneLine(subject),
    text,
    html,
    messageId: `<${id}@${new URL(publicUrl).hostname}>`,
    headers: { 'Auto-Submitted': 'auto-generated' },
    disableFileAccess: true,
    disableUrlAccess: true,
  }).compile()
  const { from } = node.getEnvelope()
  return { envelope: { from: from || address, to: node.getEnvelope().to }, raw: await node.build() }
}

/** What failed, in one line, without addresses and without the password. */
function describe(error: unknown, password: string): string {
  const found = error as { response?: unknown; message?: unknown }
  const text = String(found.response ?? found.message ?? error)
  const clean = password === '' ? text : text.replaceAll(password, '…')
  return toOneLine(clean.replace(/(?<![^\s<>@])[^\s<>@]+@[^\s<>]+/g, '…'))
    .slice(0, MAX_ERROR_LENGTH)
    .toWellFormed()
}
