/**
 * Matches the part of a hash that decides its cost: algorithm and parameters. Does not match costs beyond what an
 * import accepts, because checking such a hash would take seconds.
 */
const KIND =
  /^(\$2[aby]\$(?:0[4-9]|1[0-4])|\$argon2(?:id|i|d)\$v=19\$m=\d{1,5},t=(?:\d|10),p=(?:\d|1[0-6]))\$/
/** The same pattern for PostgreSQL, which finds the kinds among all users. It uses no syntax that PostgreSQL lacks. */
export const KIND_PATTERN = KIND.source

/** The kind of a stored hash; null for a text that is not a hash of a known kind. */
export function kindOf(hash: string): string | null {
  return KIND.exec(hash)?.[1] ?? null
}

/** A well-formed hash of a kind, of an unknown password. A check against it takes as long as any other of its kind. */
export function sampleOf(kind: string): string {
  return kind.startsWith('$2') ? `${kind}$${'.'.repeat(53)}` : `${kind}$${'A'.repeat(43)}$${'A'.repeat(43)}`
}
