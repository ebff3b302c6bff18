import { type Stats, statSync } from 'node:fs'

/** What others may not do with a file or a directory, as bits of its mode. */
export const OTHERS = { nothing: 0, write: 0o022, readOrWrite: 0o077 } as const

/**
 * Why a file, directory or socket must not be used: its owner, or others who may write to it, would decide what this
 * process does and read what it is told (docs/decisions/0032). As with ssh the owner is the user of this process, or root.
 * @param forbidden what others may not do with it
 * @returns the rest of a sentence that begins with its name; null where it may be used, or is not there
 */
export function distrustOf(path: string, forbidden: number = OTHERS.write): string | null {
  const user = process.geteuid?.()
  const found = find(path)
  if (user === undefined || found === null) return null
  if (found.uid !== user && found.uid !== 0) {
    return `belongs to the user ${found.uid}, and this process runs as ${user}: run it as that user, or change the owner (chown)`
  }
  // A group that has the number of a user is that user's own, as most systems make it: nobody else is in it.
  const isOwnGroup = user !== 0 && found.gid === user
  const granted = found.mode & forbidden & (isOwnGroup ? 0o007 : 0o077)
  if (granted === 0) return null
  return (granted & OTHERS.write) === 0
    ? 'can be read by other users: chmod go= it'
    : 'can be written by other users: chmod go-w it'
}

/** What cannot be looked at cannot be used either, and that says so itself. */
function find(path: string): Stats | null {
  try {
    return statSync(path)
  } catch {
    return null
  }
}

/**
 * Makes sure that a file, directory or socket may be used.
 * @param name as it is called to the person
 * @throws Error with one sentence that says what to do
 */
export function requireTrust(path: string, name: string, forbidden?: number): void {
  const fault = distrustOf(path, forbidden)
  if (fault !== null) throw new Error(`${name} ${fault}`)
}
