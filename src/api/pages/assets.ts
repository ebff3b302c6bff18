import { readFileSync, statSync } from 'node:fs'
import { Elysia } from 'elysia'
import type { Config } from '../../config/config.ts'
import { createCodedAnswer } from '../compression.ts'
import { PAGE_HEADERS } from './answer.tsx'
import script from './page.js.txt' with { type: 'file' }
import style from './style.css.txt' with { type: 'file' }

const MAX_LOGO_BYTES = 100 * 1024
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

/** The picture of BRAND_LOGO, which is sent with each page. A script within an SVG does not run: the policy forbids it. */
type Logo = { bytes: Uint8Array<ArrayBuffer>; type: 'image/png' | 'image/svg+xml' }

/**
 * Reads BRAND_LOGO.
 * @throws Error with a sentence for the operator, where it is no PNG or SVG file of at most 100 KiB
 */
function readLogo(path: string): Logo {
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined) throw new Error(`BRAND_LOGO names a file that is not there: ${path}`)
  if (size > MAX_LOGO_BYTES) throw new Error('BRAND_LOGO must be a file of at most 100 KiB')
  const bytes = new Uint8Array(readFileSync(path))
  if (PNG.every((byte, at) => bytes[at] === byte)) return { bytes, type: 'image/png' }
  if (/^\s*(<\?xml|<!--|<!doctype svg|<svg)/i.test(new TextDecoder().decode(bytes.subarray(0, 512)))) {
    return { bytes, type: 'image/svg+xml' }
  }
  throw new Error('BRAND_LOGO must be a PNG or an SVG file')
}

/** White or black, whichever is easier to read on a colour (WCAG 2, relative luminance). */
function textOn(colour: string): '#ffffff' | '#000000' {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000000' : '#ffffff'
}

/** The files that pages name: style, script and logo. They change with a release or a setting, so browsers keep them an hour. */
export function pageAssets({ brandAccent, brandLogo }: Config) {
  const headers = (type: string) => ({
    ...PAGE_HEADERS,
    'content-type': type,
    'cache-control': 'public, max-age=3600',
  })
  const accent =
    brandAccent === null
      ? ''
      : `\n:root {\n  --accent: ${brandAccent};\n  --on-accent: ${textOn(brandAccent)};\n}\n`
  const sendStyle = createCodedAnswer(
    async () => Buffer.from((await Bun.file(style).text()) + accent),
    headers('text/css; charset=utf-8'),
  )
  const sendScript = createCodedAnswer(
    () => Bun.file(script).bytes(),
    headers('text/javascript; charset=utf-8'),
  )
  const hidden = { detail: { hide: true } }
  const app = new Elysia({ prefix: '/pages' })
    .get('/style.css', ({ request }) => sendStyle(request), hidden)
    .get('/page.js', ({ request }) => sendScript(request), hidden)
  if (brandLogo === null) return app
  const logo = readLogo(brandLogo)
  return app.get('/logo', () => new Response(logo.bytes, { headers: headers(logo.type) }), hidden)
}
