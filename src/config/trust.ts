import { type Stats, statSync } from 'node:fs'

/** What others must not be able to do with a file or directory, as bits of its mode. */
export const OTHERS = { nothing: 0, write: 0o022, readOrWrite: 0o077 } as const

/**
 * Why a file, directory or socket must not be used (docs/decisions/0032). Its owner, and others who may write
 * to it, decide what this process does and reads. As for ssh, the owner must be the user of this process, or
 * root.
 * @param forbidden what others must not be able to do with it
 * @returns the rest of a sentence that begins with its name; null if it may be used, or does not exist
 */
export function distrustOf(path: string, forbidden: number = OTHERS.write): string | null {
  const user = process.geteuid?.()
  const found = find(path)
  if (user === undefined || found === null) return null
  if (found.uid !== user && found.uid !== 0) {
    return `belongs to the user ${found.uid}, and this process runs as ${user}: run it as that user, or change the owner (chown)`
  }
  // A group with the same number as the user is this user's private group on most systems, and has no other
  // member.
  const isOwnGroup = user !== 0 && found.gid === user
  const granted = found.mode & forbidden & (isOwnGroup ? 0o007 : 0o077)
  if (granted === 0) return null
  return (granted & OTHERS.write) === 0
    ? 'can be read by other users: chmod go= it'
    : 'can be written by other users: chmod go-w it'
}

/** A path that cannot be examined cannot be opened either. Opening it reports the error. */
function find(path: string): Stats | null {
  try {
    return statSync(path)
  } catch {
    return null
  }
}

/**
 * Refuses a file, directory or socket that others control (docs/decisions/0032).
 * @param name the name for the message
 * @throws Error with one sentence that says what to do
 */
export function requireTrust(path: string, name: string, forbidden?: number): void {
  const fault = distrustOf(path, forbidden)
  if (fault !== null) throw new Error(`${name} ${fault}`)
}
