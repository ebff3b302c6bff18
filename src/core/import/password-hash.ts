const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,8}),t=(\d{1,8}),p=(\d{1,8})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/** What one login may cost: a quarter of a minute's work for nobody. */
const BCRYPT_COST = [4, 14] as const
const MAX_ARGON2_MEMORY_KIB = 64 * 1024
const MAX_ARGON2_PASSES = 10
const MAX_ARGON2_LANES = 16

/**
 * Why a password's hash cannot be taken over, or null where it can: bcrypt, or argon2 in its own text form, at a cost
 * that a login can bear. Never repeats the hash.
 */
export function faultOfPasswordHash(hash: string): string | null {
  const bcrypt = BCRYPT.exec(hash)
  if (bcrypt) return faultOfBcrypt(Number(bcrypt[1]))
  const [matched, memory, passes, lanes, ...texts] = ARGON2.exec(hash) ?? []
  // No number of bytes has such a length in base64.
  const isWhole = texts.every((text) => text.length % 4 !== 1)
  if (matched !== undefined && isWhole) return faultOfArgon2(Number(memory), Number(passes), Number(lanes))
  if (/^\$2[aby]\$/.test(hash)) return 'The bcrypt hash is damaged'
  if (hash.startsWith('$argon2')) return 'The argon2 hash is damaged, or of another version than 19'
  return 'The password hash is of a kind that cannot be checked here: it must be bcrypt or argon2'
}

function faultOfBcrypt(cost: number): string | null {
  const [least, greatest] = BCRYPT_COST
  if (cost >= least && cost <= greatest) return null
  return `The bcrypt hash has cost ${cost}; it must be ${least} to ${greatest}`
}

function faultOfArgon2(memoryKib: number, passes: number, lanes: number): string | null {
  if (memoryKib > MAX_ARGON2_MEMORY_KIB) {
    return `The argon2 hash takes ${memoryKib} KiB of memory; at most ${MAX_ARGON2_MEMORY_KIB} can be spent on a login`
  }
  if (passes > MAX_ARGON2_PASSES)
    return `The argon2 hash takes ${passes} passes; at most ${MAX_ARGON2_PASSES} can be spent on a login`
  if (lanes > MAX_ARGON2_LANES)
    return `The argon2 hash has ${lanes} lanes; at most ${MAX_ARGON2_LANES} can be`
  // RFC 9106, section 3.1.
  return passes < 1 || lanes < 1 || memoryKib < 8 * lanes ? 'The argon2 hash is damaged' : null
}
