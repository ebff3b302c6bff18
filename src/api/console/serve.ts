import { statSync } from 'node:fs'
import { join } from 'node:path'
import { codingFor } from '../compression.ts'
import type { Bundle, BundledPage } from './bundle.ts'

/**
 * The policy of console.md, section 1.2: no other origin, nothing inline, no HTML from text.
 * @param frameAncestors the origins that may show the page in a frame
 */
export function policyWith(frameAncestors: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    `frame-ancestors ${frameAncestors.length === 0 ? "'none'" : frameAncestors.join(' ')}`,
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

/** A file as it is stored, or unpacked for a client that takes no coding of ours. Its name holds its hash. */
export function sendFile(
  { type, zstd, gzip }: Bundle['files'][string],
  request: Request,
  headers: Record<string, string>,
): Response {
  const coding = codingFor(request.headers.get('accept-encoding'))
  const stored = Uint8Array.fromBase64(coding === 'zstd' ? zstd : gzip)
  return new Response(coding === null ? Bun.gunzipSync(stored) : stored, {
    headers: {
      ...headers,
      'content-type': type,
      'cache-control': 'public, max-age=31536000, immutable',
      vary: 'Accept-Encoding',
      ...(coding !== null && { 'content-encoding': coding }),
    },
  })
}

/** Reads a page with its files: from the binary, or bundled from source. */
export const createPageReader = (page: BundledPage): (() => Promise<Bundle>) =>
  // Imported at the first request: a start needs none of it, nor does a command.
  Bun.embeddedFiles.length > 0 ? async () => (await import('./embedded.ts'))[page] : createSourceReader(page)

/** From source: bundles at the first request, and again where a source file has changed since. */
function createSourceReader(page: BundledPage): () => Promise<Bundle> {
  const root = join(import.meta.dir, '../../..')
  const glob = new Bun.Glob('{console,client}/**/*.{ts,tsx,css,html}')
  let made: { bundle: Promise<Bundle>; of: number } | null = null
  return async () => {
    const paths = [...glob.scanSync({ cwd: root })]
    const newest = Math.max(...paths.map((path) => statSync(join(root, path)).mtimeMs))
    if (made?.of !== newest) {
      const bundle = import('./bundle.ts').then(({ bundlePage }) => bundlePage(page))
      made = { bundle, of: newest }
      // The next request tries again.
      bundle.catch(() => {
        made = null
      })
    }
    return made.bundle
  }
}
