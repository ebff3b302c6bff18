/** An API behind nginx, which asks Latchkey about every request. It knows no token and no key. See README.md. */
import express, { type Request } from 'express'

const { PORT = '3000' } = process.env

/** Names the caller by the headers of nginx. nginx sets each of these headers or removes it. */
const callerOf = (request: Request) => ({
  type: request.get('x-auth-type'),
  id: request.get('x-auth-subject'),
  scopes: request.get('x-auth-scopes')?.split(' ') ?? [],
})

const app = express()
// deploy/nginx/latchkey.conf decides by path: /reports needs "read", /admin an admin, /public no credential.
app.get('/public/hello', (_, response) => {
  response.json({ hello: 'world' })
})
app.get('/reports/daily', (request, response) => {
  response.json({ report: 'All is well.', for: callerOf(request).id })
})
app.get('/admin/settings', (request, response) => {
  response.json({ settings: {}, for: callerOf(request).id })
})
app.get('/me', (request, response) => {
  response.json(callerOf(request))
})

// Listens on loopback, where only nginx can connect. Any other client could name itself in the headers.
const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address()
  console.log(`Listening on http://127.0.0.1:${typeof address === 'object' ? address?.port : PORT}`)
})
