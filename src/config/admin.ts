import type { Secret } from '../lib/secret.ts'
import type { Reader } from './reader.ts'

const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,253}$/
const MAX_PASSWORD_BYTES = 1024

/** The first admin's address and password: both or neither. The rules of sign-up are asked again when it is made. */
export function readAdmin(read: Reader, passwordMinLength: number) {
  const email = read.text('ADMIN_EMAIL')
  const password = read.secret('ADMIN_PASSWORD')
  if (email !== null && (!EMAIL.test(email) || email.length > 254)) {
    read.fault('ADMIN_EMAIL must be an e-mail address')
  }
  if (email !== null && password === null) read.fault('ADMIN_EMAIL needs ADMIN_PASSWORD beside it')
  if (password !== null && email === null) read.fault('ADMIN_PASSWORD needs ADMIN_EMAIL beside it')
  if (password !== null) checkPassword(read, password, passwordMinLength)
  return { email, password }
}

function checkPassword(read: Reader, password: Secret, minLength: number): void {
  const text = password.reveal().normalize('NFC')
  if ([...text].length < minLength) read.fault(`ADMIN_PASSWORD must have at least ${minLength} characters`)
  if (Buffer.byteLength(text) > MAX_PASSWORD_BYTES) {
    read.fault(`ADMIN_PASSWORD must have at most ${MAX_PASSWORD_BYTES} bytes`)
  }
}
