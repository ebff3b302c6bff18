/** Where admins manage apps: a part of Latchkey's own API, though it stands below /oauth/. */
const CLIENTS = '/oauth/clients'

/** Pages. */
const PAGES = ['/oauth/authorize', '/oauth/consent', '/oauth/logout']
/** An API that takes a bearer (RFC 6750): its errors are in `WWW-Authenticate`. */
const USERINFO = '/oauth/userinfo'

/** Whether a path is an endpoint of OAuth, which reads a form, and whose errors have the form of RFC 6749. */
export const isOAuthPath = (path: string): boolean =>
  path.startsWith('/oauth/') &&
  path !== USERINFO &&
  !PAGES.includes(path) &&
  path !== CLIENTS &&
  !path.startsWith(`${CLIENTS}/`)
