import { randomBytes } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { Secret } from '../lib/secret.ts'
import type { Io } from './terminal.ts'

const GENERATED_BYTES = 18

/**
 * Reads a new password: all of standard input, or asked twice without echo.
 * @returns null if Latchkey is to generate a password: the answer was empty, or there is no terminal
 * @throws Error with one sentence if the two answers differ, or standard input was empty
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

const MIN_PASSPHRASE_LENGTH = 12

/**
 * Reads the passphrase of an export: from standard input, the setting, or the person, in this order.
 * @param isNew whether the person chooses a new passphrase: then it is asked twice, and must not be too short
 * @throws Error with one sentence if there is no passphrase
 */
export async function readPassphrase(
  io: Io,
  { latchkeyPassphrase }: Pick<Config, 'latchkeyPassphrase'>,
  { fromStdin, isNew }: { fromStdin: boolean; isNew: boolean },
): Promise<string> {
  const passphrase = await findPassphrase(io, latchkeyPassphrase, fromStdin, isNew)
  if (passphrase === '') throw new Error('the passphrase is empty')
  if (isNew && [...passphrase].length < MIN_PASSPHRASE_LENGTH)
    throw new Error(`the passphrase must have at least ${MIN_PASSPHRASE_LENGTH} characters`)
  return passphrase
}

async function findPassphrase(io: Io, setting: Secret | null, fromStdin: boolean, isNew: boolean) {
  if (fromStdin) return (await io.readAll()).replace(/\r?\n$/, '')
  if (setting !== null) return setting.reveal()
  if (!io.isTerminal)
    throw new Error('there is no passphrase: set LATCHKEY_PASSPHRASE, or give --passphrase-stdin')
  const passphrase = await ask(io, 'Passphrase: ')
  if (isNew && (await ask(io, 'The same again: ')) !== passphrase)
    throw new Error('the two passphrases differ')
  return passphrase
}

async function ask(io: Io, question: string): Promise<string> {
  const answer = await io.askHidden(question)
  if (answer === null) throw new Error('given up')
  return answer
}

/** Generates a strong random password that is at least as long as the settings require. */
export function generatePassword({ passwordMinLength }: Pick<Config, 'passwordMinLength'>): string {
  return randomBytes(Math.max(GENERATED_BYTES, passwordMinLength)).toString('base64url')
}

/** The line that displays a generated password. No line for a password that a person chose. */
export function showPassword(password: string | undefined): string[] {
  return password === undefined ? [] : [`Password, shown this once: ${password}`]
}
