import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file of a page, in base64 of each coding: a macro can hand on text alone. */
export type BundledFile = { type: string; zstd: string; gzip: string }
/** A page, whose links begin with the place of its files, and the files that it names. */
export type Bundle = { page: string; files: Record<string, BundledFile> }

const TYPES: Record<string, string> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
}

/** The pages that are bundled: where each begins in `console/`, and where its files are served. */
const PAGES = {
  console: { entry: 'index.html', files: '/console/' },
  portal: { entry: 'portal.html', files: '/portal/assets/' },
} as const
export type BundledPage = keyof typeof PAGES

/**
 * Bundles a page of `console/`. Runs as a macro when the binary is built, and at the first request when Latchkey runs from source.
 * The bundler gets NODE_ENV=production, without which it would take React's development build, and nothing else of the
 * environment.
 */
export async function bundlePage(page: BundledPage): Promise<Bundle> {
  const { entry, files: place } = PAGES[page]
  const root = join(import.meta.dir, '../../..')
  const outdir = mkdtempSync(join(tmpdir(), `latchkey-${page}-`))
  try {
    const child = Bun.spawn(
      [
        ...[process.execPath, 'build', `console/${entry}`, '--minify', `--public-path=${place}`],
        // The condition makes `latchkey/client/management` the source, so that nothing has to be built before.
        ...['--conditions=bun', `--outdir=${outdir}`],
      ],
      { cwd: root, env: { NODE_ENV: 'production' }, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    const [complaint, code] = await Promise.all([child.stderr.text(), child.exited])
    if (code !== 0) throw new Error(`The ${page} cannot be bundled:\n${complaint}`)
    const files: Bundle['files'] = {}
    for (const name of readdirSync(outdir)) {
      const type = TYPES[name.split('.').at(-1) ?? '']
      if (type === undefined) continue
      const bytes = readFileSync(join(outdir, name))
      files[name] = {
        type,
        zstd: Bun.zstdCompressSync(bytes, { level: 19 }).toBase64(),
        gzip: Bun.gzipSync(bytes, { level: 12, library: 'libdeflate' }).toBase64(),
      }
    }
    return { page: readFileSync(join(outdir, entry), 'utf8'), files }
  } finally {
    rmSync(outdir, { recursive: true, force: true })
  }
}
