/**
 * What tells how dear a hash is: its algorithm and parameters. Kinds beyond what an import takes, which would cost
 * seconds, are none.
 */
const KIND =
  /^(\$2[aby]\$(?:0[4-9]|1[0-4])|\$argon2(?:id|i|d)\$v=19\$m=\d{1,5},t=(?:\d|10),p=(?:\d|1[0-6]))\$/
/** The same for PostgreSQL, which finds the kinds among all users; it has no other syntax for these. */
export const KIND_PATTERN = KIND.source

/** The kind of a stored hash; null for text that is no hash. */
export function kindOf(hash: string): string | null {
  return KIND.exec(hash)?.[1] ?? null
}

/** A well-formed hash of a kind, of no password that anybody knows: to check against it takes as long as any other. */
export function sampleOf(kind: string): string {
  return kind.startsWith('$2') ? `${kind}$${'.'.repeat(53)}` : `${kind}$${'A'.repeat(43)}$${'A'.repeat(43)}`
}
