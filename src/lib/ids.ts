/** A new UUIDv7: sorts by the time it was made. */
export function newId(): string {
  return Bun.randomUUIDv7()
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Whether the text may be looked up as an id; anything else is nobody's (404). In small letters alone, as ids are
 * answered: an id that has one spelling can be compared as text.
 */
export function isId(text: string): boolean {
  return UUID.test(text)
}
