const TARGETS = ['admin', 'reports', 'jobs', 'x'].flatMap((place) => [
  `/${place}/../public/a`,
  `/public/../${place}/a`,
  `/public/./../${place}/a`,
  `/public/a/../../${place}/a`,
  `/public/%2e%2e/${place}/a`,
  `/public/.%2E/${place}/a`,
  `/public/..%2f${place}/a`,
  `/public%2f..%2f${place}/a`,
  `/public/%2e%2e%2f${place}/a`,
  `/public/..%5c${place}/a`,
  `/public/..\\${place}\\a`,
  `/public\\..\\${place}/a`,
  `/public/..;/${place}/a`,
  `/public/..;x=1/${place}/a`,
  `/public/%252e%252e/${place}/a`,
  `/public/%252e%252e%252f${place}/a`,
  `/public/..%00/${place}/a`,
  `/public/../${place}%00/a`,
  `/public//../${place}/a`,
  `/public///..//..//${place}/a`,
  `//${place}/a`,
  `//public/../${place}/a`,
  `/./${place}/a`,
  `/${place}//a`,
  `/${place}/./a`,
  `/${place};x=/a`,
  `/;/${place}/a`,
  `/${place}%2fa`,
  `/${place}%00`,
  `/${place}%20/a`,
  `/%${place.charCodeAt(0).toString(16)}${place.slice(1)}/a`,
  `/${place.toUpperCase()}/a`,
  `/public/a#/../../${place}/a`,
  `/public/a?/../../${place}/a`,
  `/public/a%3f/../../${place}/a`,
  `/public/a%23/../../${place}/a`,
  `http://127.0.0.1/${place}/a`,
  `http://127.0.0.1/public/../${place}/a`,
  `http://127.0.0.1//${place}/a`,
  `/public/..`,
  `/public/%2e%2e`,
  `/public/..%c0%af${place}/a`,
  `/public/%u002e%u002e/${place}/a`,
])

/**
 * Targets that one program may read as a path below one of these places, and another program as a different
 * path.
 */
export const AMBIGUOUS = [...new Set(TARGETS)]

/** The path that the most tolerant application might read. */
export function readTolerantly(target: string): string {
  let path = target.replace(/^https?:\/\/[^/]*/i, '').split(/[?#]/)[0] ?? ''
  for (let times = 0; times < 3; times++)
    path = path.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  const parts: string[] = []
  for (const part of path
    .replaceAll('\0', '')
    .toLowerCase()
    .split(/[/\\]+/)) {
    const [name = ''] = part.split(';')
    if (name === '..') parts.pop()
    else if (name !== '' && name !== '.') parts.push(name)
  }
  return `/${parts.join('/')}`
}
