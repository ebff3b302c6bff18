import { randomBytes } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { Io } from './terminal.ts'

const GENERATED_BYTES = 18

/**
 * A new password from where the person sits: all of standard input, or asked for twice without echo.
 * @returns null where one is to be made: an empty answer, or nobody to ask
 * @throws Error with one sentence where the two differ, or nothing was given
 */
export async function readNewPassword(io: Io, fromStdin: boolean): Promise<string | null> {
  if (fromStdin) {
    const password = (await io.readAll()).replace(/\r?\n$/, '')
    if (password === '') throw new Error('there is no password on standard input')
    return password
  }
  if (!io.isTerminal) return null
  const password = await ask(io, 'Password (empty: have one made): ')
  if (password === '') return null
  if ((await ask(io, 'The same again: ')) !== password) throw new Error('the two passwords differ')
  return password
}

async function ask(io: Io, question: string): Promise<string> {
  const answer = await io.askHidden(question)
  if (answer === null) throw new Error('given up')
  return answer
}

/** A strong random password, as long as the settings ask for. */
export function generatePassword({ passwordMinLength }: Pick<Config, 'passwordMinLength'>): string {
  return randomBytes(Math.max(GENERATED_BYTES, passwordMinLength)).toString('base64url')
}

/** The line that shows a password which was made here; none for one that somebody chose. */
export function showPassword(password: string | undefined): string[] {
  return password === undefined ? [] : [`Password, shown this once: ${password}`]
}
