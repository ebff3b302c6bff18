/** A product whose customers manage their API keys in a frame of its own page. See README.md. */
const {
  LATCHKEY_URL = 'http://localhost:8000',
  LATCHKEY_KEY = '',
  CUSTOMER_ACCOUNT = '',
  PORT = '3000',
} = process.env

/** Your log-in says who asks, and your database which service account stands for that customer. */
const accountOf = (_request: Request): string | null => CUSTOMER_ACCOUNT || null

const html = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Settings</title>
    <style>
      body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
      iframe { width: 100%; height: 60rem; border: 1px solid #ccc; border-radius: 8px }
    </style>
  </head>
  <body>
    <h1>Settings</h1>
    <iframe src="/api-keys" title="API keys" allow="clipboard-write"></iframe>
  </body>
</html>`

/** Asks for a portal session of one customer, and sends the browser to it. */
async function openPortal(request: Request): Promise<Response> {
  const account = accountOf(request)
  if (account === null) return new Response('Log in first', { status: 401 })
  const answer = await fetch(`${LATCHKEY_URL}/portal/sessions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${LATCHKEY_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      service_account_id: account,
      scopes: ['read'],
      may: ['create', 'rotate', 'revoke'],
    }),
  })
  if (!answer.ok) {
    console.error(answer.status, await answer.text())
    return new Response('Your API keys cannot be shown now', { status: 502 })
  }
  const { url } = (await answer.json()) as { url: string }
  // Each link works once: a copy of this answer would be of no use.
  return new Response(null, { status: 303, headers: { location: url, 'cache-control': 'no-store' } })
}

const product = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(PORT),
  routes: {
    '/': new Response(html, { headers: { 'content-type': 'text/html; charset=utf-8' } }),
    '/api-keys': openPortal,
  },
  fetch: () => new Response('Not found', { status: 404 }),
})

console.log(`Listening on ${product.url.origin}`)
