import { Elysia } from 'elysia'
import favicon from 'swagger-ui-dist/favicon-32x32.png' with { type: 'file' }
import redirectScript from 'swagger-ui-dist/oauth2-redirect.js' with { type: 'file' }
import css from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' }
import bundle from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' }
import { createCodedAnswer } from './compression.ts'
import redirectPage from './docs/oauth2-redirect.html.txt' with { type: 'file' }
import pageCss from './docs/page.css.txt' with { type: 'file' }
import page from './docs/page.html.txt' with { type: 'file' }
import start from './docs/start.js.txt' with { type: 'file' }
import { pathOf } from './elysia.ts'

const FILES: Record<string, { path: string; type: string }> = {
  'swagger-ui-bundle.js': { path: bundle, type: 'text/javascript; charset=utf-8' },
  'swagger-ui.css': { path: css, type: 'text/css; charset=utf-8' },
  'page.css': { path: pageCss, type: 'text/css; charset=utf-8' },
  'favicon.png': { path: favicon, type: 'image/png' },
  // The page to which the code flow comes back, and the package's own script that hands the answer to the page that asked.
  'oauth2-redirect': { path: redirectPage, type: 'text/html; charset=utf-8' },
  'oauth2-redirect.js': { path: redirectScript, type: 'text/javascript; charset=utf-8' },
  'start.js': { path: start, type: 'text/javascript; charset=utf-8' },
}

/** The page loads its own files alone, calls this service alone, and cannot be shown in a frame. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

/** Answers with a file of the page. An image is compressed already. */
function fileAnswer({ path, type }: { path: string; type: string }) {
  const file = Bun.file(path)
  const headers = {
    'content-type': type,
    'cache-control': 'public, max-age=3600',
    'content-security-policy': CONTENT_SECURITY_POLICY,
  }
  return type.startsWith('image/')
    ? () => new Response(file, { headers })
    : createCodedAnswer(() => file.bytes(), headers)
}

/**
 * `/openapi.json`, and Swagger UI at `/docs` from files inside the binary.
 * @param hasPage false (DOCS=false) leaves out the page
 * @param describe makes the document; called at the first request for it
 */
export function docs(hasPage: boolean, describe: () => Promise<object>) {
  const sendDocument = createCodedAnswer(async () => Buffer.from(JSON.stringify(await describe())), {
    'content-type': 'application/json',
    'cache-control': 'public, max-age=300',
  })
  const app = new Elysia().get('/openapi.json', ({ request }) => sendDocument(request), {
    detail: { hide: true },
  })
  if (!hasPage) return app
  const sendPage = fileAnswer({ path: page, type: 'text/html; charset=utf-8' })
  app.get(
    '/docs',
    ({ request, redirect }) =>
      // The page names its files by relative paths, so that it also works below a path that a proxy adds.
      pathOf(request).endsWith('/') ? redirect('../docs', 308) : sendPage(request),
    { detail: { hide: true } },
  )
  for (const [name, file] of Object.entries(FILES)) {
    const sendFile = fileAnswer(file)
    app.get(`/docs/${name}`, ({ request }) => sendFile(request), { detail: { hide: true } })
  }
  return app
}
