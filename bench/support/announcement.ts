import type { LoadRequest } from './load.ts'
import type { ServerProcess } from './process.ts'

/**
 * Prints where a program of the bench listens, and the requests that the load generator should send to it.
 */
export function announce(url: URL | string | undefined, requests: readonly LoadRequest[]): void {
  process.stdout.write(`Asked ${JSON.stringify(requests)}\nListening on ${url}\n`)
}

/** The requests that a program announced. */
export function announcedRequests({ announcement }: ServerProcess): LoadRequest[] {
  const asked = /^Asked (.*)$/m.exec(announcement)?.[1]
  if (asked === undefined) throw new Error('The program does not say what it is to be asked')
  return JSON.parse(asked)
}
