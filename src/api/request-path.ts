/**
 * The path of a request, as the router sees it. Not by `new URL`, which gives up over hosts that Bun lets pass; where the
 * Host header is none at all, Bun hands on the target alone.
 */
export function pathOf(request: Request): string {
  const { url } = request
  const start = url.startsWith('/') ? 0 : url.indexOf('/', 'http://'.length)
  if (start === -1) return '/'
  const end = url.indexOf('?', start)
  return end === -1 ? url.slice(start) : url.slice(start, end)
}

/** Elysia takes a path with and without a slash at its end. */
export function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}
