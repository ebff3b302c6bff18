/** An API of notes. People call it with access tokens, programs with API keys. See README.md. */
import { Elysia, t } from 'elysia'
import { createClient } from 'latchkey/client'
import { latchkey } from 'latchkey/client/elysia'

const { LATCHKEY_URL = 'http://localhost:8000', LATCHKEY_KEY, PORT = '3000' } = process.env

const client = createClient({
  url: LATCHKEY_URL,
  key: LATCHKEY_KEY,
  onError: (error) => console.error(error),
})

const notes: { text: string; by: string }[] = []

const app = new Elysia()
  .use(latchkey(client))
  .get('/notes', () => notes, { anyone: { scopes: ['read'] } })
  .post(
    '/notes',
    ({ principal, body, status }) => {
      const note = { text: body.text, by: principal.kind === 'key' ? principal.owner.id : principal.userId }
      notes.push(note)
      return status(201, note)
    },
    { anyone: { scopes: ['write'] }, body: t.Object({ text: t.String({ maxLength: 1000 }) }) },
  )
  .get('/me', ({ principal }) => ({ id: principal.userId, role: principal.role }), { user: true })
  .delete('/notes', () => notes.splice(0), { admin: true })
  .listen({ hostname: '127.0.0.1', port: Number(PORT) })

console.log(`Listening on http://127.0.0.1:${app.server?.port}`)
