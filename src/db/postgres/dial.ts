import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { databaseError } from '../errors.ts'
import { type Encryption, isSocketPath, type Target } from './target.ts'

/**
 * The request that asks a server for TLS (PostgreSQL, "SSL Session Encryption"). The server answers `S` or
 * `N`.
 */
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)

/**
 * Opens a socket to the server, encrypted as requested.
 * @param opened receives each socket that is opened, so that the caller can end it early
 * @throws Error with a code for which `isUnavailable` is true
 */
export async function dial(
  target: Target,
  encryption: Encryption,
  timeoutMs: number,
  opened: (socket: Socket) => void,
): Promise<Socket> {
  const { host, hostaddr, port } = target
  const plain = isSocketPath(host)
    ? connectSocket(`${host}/.s.PGSQL.${port}`)
    : connectSocket({ host: hostaddr ?? host, port })
  opened(plain)
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    await once(plain, 'connect', { signal })
    if (encryption === 'off') return plain
    if (!target.isTlsDirect && !(await offersTls(plain, target, signal))) {
      if (encryption === 'if-offered') return plain
      throw databaseError('CONNECT_FAILED', `${host}:${port} does not offer TLS, which sslmode asks for`)
    }
    const options = { ...target.tls(), ...(target.isTlsDirect && { ALPNProtocols: ['postgresql'] }) }
    const secure = connectTls({ socket: plain, ...options })
    opened(secure)
    await once(secure, 'secureConnect', { signal })
    return secure
  } catch (error) {
    plain.destroy()
    if (!signal.aborted) throw error
    throw databaseError('CONNECT_TIMEOUT', `${host}:${port} gave no answer within ${timeoutMs} ms`)
  }
}

async function offersTls(socket: Socket, { host, port }: Target, signal: AbortSignal): Promise<boolean> {
  socket.write(SSL_REQUEST)
  const ended = once(socket, 'end', { signal }).then(() => null)
  const answer = await Promise.race([once(socket, 'data', { signal }), ended])
  ended.catch(() => {})
  if (answer === null) throw closedWithoutAnswer(host, port)
  const [bytes] = answer
  // More than one byte means that an attacker in the network added plain text (CVE-2021-23222).
  if (bytes.length !== 1)
    throw databaseError('CONNECT_FAILED', `${host}:${port} sent more than an answer to the request for TLS`)
  return bytes[0] === 0x53
}

/** The error for a connection that closed without an answer, as a proxy does whose server is gone. */
export const closedWithoutAnswer = (host: string, port: number): Error =>
  databaseError('ECONNRESET', `${host}:${port} closed the connection without an answer`)
