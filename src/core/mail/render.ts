/** Values for the parameters of a template. */
export type Values = Readonly<Record<string, string>>

const PARAMETER = /\{\{ *(\w+) *\}\}/g

/** The names of the parameters that a template uses. */
export const namesIn = (template: string): string[] =>
  [...template.matchAll(PARAMETER)].map(([, name = '']) => name)

/** Replaces the parameters by their values. A `{{name}}` within a value is not replaced. */
const fill = (template: string, values: Values, encode: (value: string) => string): string =>
  template.replace(PARAMETER, (_, name: string) => encode(values[name] ?? ''))

/** The text of a mail. */
export const fillText = (template: string, values: Values): string => fill(template, values, (value) => value)

/** The HTML of a mail; each value as text, also within an attribute. */
export const fillHtml = (template: string, values: Values): string => fill(template, values, escapeHtml)

/** A subject: one line, whatever the values hold, since a line break would begin another header. */
export const fillSubject = (template: string, values: Values): string => toOneLine(fillText(template, values))

/** A text without control characters, which also end lines. */
export const toOneLine = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)

/** How our own HTML looks. */
export type Look = {
  /** The text of the button; null: the address itself, as a link. */
  action: string | null
  /** `#rrggbb`. */
  accent: string
}

/** A paragraph that is one address and nothing else becomes a button. */
const ADDRESS = /^\{\{ *(link|\w+_url) *\}\}$/

/**
 * The HTML of a template of text: a paragraph for each, the link as a button. It loads nothing, and follows the reader's
 * choice of a light or a dark background.
 */
export function htmlOf(text: string, { action, accent }: Look): string {
  const paragraphs = text
    .split(/\n{2,}/)
    .map((paragraph) => {
      const trimmed = paragraph.trim()
      if (!ADDRESS.test(trimmed)) return `<p>${escapeHtml(trimmed).replaceAll('\n', '<br>\n')}</p>`
      if (action === null) return `<p><a href="${trimmed}">${trimmed}</a></p>`
      return `<p><a class="button" href="${trimmed}">${escapeHtml(action)}</a></p>\n<p class="address">${trimmed}</p>`
    })
    .join('\n')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{brand}}</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; padding: 24px; background: #ffffff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 560px; margin: 0 auto; overflow-wrap: anywhere; }
a { color: inherit; }
.button { display: inline-block; padding: 10px 18px; border-radius: 6px; background: ${accent}; color: ${inkOn(accent)}; text-decoration: none; }
.address { font-size: 13px; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eeeeee; } }
</style>
</head>
<body>
<main>
<p><strong>{{brand}}</strong></p>
${paragraphs}
</main>
</body>
</html>
`
}

/** Black or white, whichever is easier to read on a colour (its luma, ITU-R BT.601). */
function inkOn(colour: string): string {
  const [red = 0, green = 0, blue = 0] = Uint8Array.fromHex(colour.slice(1))
  return red * 0.299 + green * 0.587 + blue * 0.114 > 150 ? '#000000' : '#ffffff'
}
