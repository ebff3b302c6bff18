import type { AnyElysia } from 'elysia'
import { createRouter, pathOf, securityOf } from './elysia.ts'

/** What the outer layers ask about the finished app's routes. */
export type RouteTable = {
  /** The methods that a path takes, for `Allow`; none for a path that does not exist. */
  methodsOf(path: string): string[]
  /** Whether the route that a request goes to needs a credential: so the document says of it. */
  isGuarded(request: Request): boolean
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']

/** Describes the routes from outside, before Elysia has chosen one (docs/decisions/0008). */
export function createRouteTable(routes: AnyElysia['routes']): RouteTable {
  const guarded = createRouter(routes, (route) => {
    const alternatives = securityOf(route)
    return alternatives.length > 0 && alternatives.every((each) => Object.keys(each).length > 0)
  })

  return {
    methodsOf(path) {
      const matches = METHODS.filter((method) => guarded.find(method, path) !== null)
      return matches.includes('GET') && !matches.includes('HEAD') ? [...matches, 'HEAD'] : matches
    },
    isGuarded(request) {
      return guarded.find(request.method === 'HEAD' ? 'GET' : request.method, pathOf(request)) ?? false
    },
  }
}
