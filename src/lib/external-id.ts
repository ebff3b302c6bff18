import { failField } from './errors.ts'

const MAX_LENGTH = 255

/**
 * An external id as it is stored and compared: in NFC. Some characters become two there, so the length is asked again.
 * @throws Problem validation_failed at `path`
 */
export function readExternalId(path: string, text: string): string {
  const normalised = text.normalize('NFC')
  if ([...normalised].length > MAX_LENGTH)
    failField(path, `Must have at most ${MAX_LENGTH} characters in NFC`)
  return normalised
}
