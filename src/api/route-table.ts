import type { AnyElysia } from 'elysia'
import { Memoirist } from 'memoirist'

/** What has to be known of the finished app's routes from outside of them. */
export type RouteTable = {
  /** The methods that a path takes, for `Allow`; none for a path that does not exist. */
  methodsOf(path: string): string[]
  /** Whether the route that a request goes to is behind a credential: what the document says it needs, it needs. */
  isGuarded(request: Request): boolean
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']

/** Found by the router that Elysia itself uses, so that both find the same. */
export function createRouteTable(routes: AnyElysia['routes']): RouteTable {
  const router = new Memoirist<{ isGuarded: boolean }>()
  for (const { method, path, hooks } of routes) {
    const ways: object[] = hooks.detail?.security ?? []
    const isGuarded = ways.length > 0 && ways.every((way) => Object.keys(way).length > 0)
    router.add(method, withoutSlash(path), { isGuarded })
  }
  const find = (method: string, path: string) => router.find(method, withoutSlash(path))

  return {
    methodsOf(path) {
      const matches = METHODS.filter((method) => find(method, path) !== null)
      return matches.includes('GET') && !matches.includes('HEAD') ? [...matches, 'HEAD'] : matches
    },
    isGuarded(request) {
      return (
        find(request.method === 'HEAD' ? 'GET' : request.method, pathOf(request))?.store.isGuarded ?? false
      )
    },
  }
}

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
