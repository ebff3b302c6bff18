import type { LoadRequest } from './load.ts'
import type { ServerProcess } from './process.ts'

/** What a program of the bench says of itself: where it listens, and what it wants to be asked. */
export function announce(url: URL | string | undefined, request: LoadRequest): void {
  process.stdout.write(`Asked ${JSON.stringify(request)}\nListening on ${url}\n`)
}

/** What a program wants to be asked, as it announced it. */
export function announcedRequest({ announcement }: ServerProcess): LoadRequest {
  const asked = /^Asked (.*)$/m.exec(announcement)?.[1]
  if (asked === undefined) throw new Error(`It does not say what it is to be asked:\n${announcement}`)
  return JSON.parse(asked)
}
