let isShort = false

/** From now on faults are tried in the short form, that of the tests of the system: with fewer requests. */
export function shorten(): void {
  isShort = true
}

/** The value for the present form. */
export const inForm = <T>(long: T, short: T): T => (isShort ? short : long)
