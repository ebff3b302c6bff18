import { createServer } from 'node:net'

/** A port of 127.0.0.1 on which nothing listens, for a program that cannot choose a port itself. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = address && typeof address === 'object' ? address.port : null
      probe.close(() => (port === null ? reject(new Error('no port was given')) : resolve(port)))
    })
  })
}
