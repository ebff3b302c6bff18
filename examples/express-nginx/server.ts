/** An API behind nginx, which asks Latchkey about every request. It knows no token and no key. See README.md. */
import express, { type Request } from 'express'

const { PORT = '3000' } = process.env

/** Who is asking, by the word of nginx: it sets each of these headers, or takes it away. */
const callerOf = (request: Request) => ({
  type: request.get('x-auth-type'),
  id: request.get('x-auth-subject'),
  scopes: request.get('x-auth-scopes')?.split(' ') ?? [],
})

const app = express()
// Whom nginx lets through to which path is in the recipe: /reports needs "read", /admin an admin, /public nobody.
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

// On loopback, where nginx alone reaches it: whoever else could would be whom they say they are.
const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address()
  console.log(`Listening on http://127.0.0.1:${typeof address === 'object' ? address?.port : PORT}`)
})
