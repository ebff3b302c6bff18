/** Where admins manage apps: a part of Latchkey's own API, though it stands below /oauth/. */
const CLIENTS = '/oauth/clients'

/** The pages of the authorization endpoint. */
const PAGES = /^\/oauth\/(?:authorize|consent)\/?$/
/** An API that takes a bearer (RFC 6750): its errors are in `WWW-Authenticate`. */
const USERINFO = '/oauth/userinfo'

/** Whether a path is an endpoint of OAuth, which reads a form, and whose errors have the form of RFC 6749. */
export const isOAuthPath = (path: string): boolean =>
  path.startsWith('/oauth/') &&
  path !== USERINFO &&
  path !== CLIENTS &&
  !path.startsWith(`${CLIENTS}/`) &&
  !PAGES.test(path)
