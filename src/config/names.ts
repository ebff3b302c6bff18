import type { Environment } from './reader.ts'

/** The settings that a file may hold instead: `NAME_FILE` is the path of one that is mounted. */
const SECRET_NAMES = [
  'SECRET_KEY',
  'SECRET_KEY_PREVIOUS',
  'DATABASE_URL',
  'DATABASE_DIRECT_URL',
  'REDIS_URL',
  'SMTP_URL',
  'ADMIN_PASSWORD',
  'METRICS_TOKEN',
  'LATCHKEY_PASSPHRASE',
]
/** In the `.env` of the replaced service, and without a meaning here. */
const SEED_NAMES = ['APP_NAME', 'DEBUG']
const fileNameOf = (name: string) => `${name}_FILE`

/** The content of a file, or why it cannot be read. */
export type ReadFile = (path: string) => { text: string } | { fault: string }

/** Where settings come from, the one that wins first: the real environment, then `.env`. */
export type Sources = readonly [environment: Environment, dotenv: Environment]

/**
 * Every setting by its name, each from the first source that has it or its file. An empty value counts as unset.
 * @param fault hears what is wrong, in sentences
 */
export function mergeSources(
  sources: Sources,
  readFile: ReadFile,
  fault: (sentence: string) => void,
): Environment {
  const [environment, dotenv] = sources
  const merged: Record<string, string | undefined> = { ...dotenv, ...environment }
  for (const name of SECRET_NAMES) {
    const fileName = fileNameOf(name)
    const source = sources.find((each) => isSet(each[name]) || isSet(each[fileName]))
    merged[name] = source?.[name]
    const path = source?.[fileName]?.trim()
    if (!path) continue
    if (isSet(source?.[name])) fault(`${name} and ${fileName} exclude each other`)
    const file = readFile(path)
    if ('fault' in file) fault(`${fileName}: ${file.fault}`)
    else if (file.text.trim() === '') fault(`${fileName}: the file is empty`)
    // The line break at its end is the editor's.
    else merged[name] = file.text.replace(/\r?\n$/, '')
  }
  return merged
}

const isSet = (value: string | undefined) => value !== undefined && value.trim() !== ''

/**
 * What is wrong with the names: in `.env` one that is no setting, in the environment, which has those of all programs,
 * one that is so close to a setting that it is a mistyped one.
 * @param known the names of all settings
 */
export function faultsOfNames([environment, dotenv]: Sources, known: readonly string[]): string[] {
  const settings = [...known, ...SECRET_NAMES.map(fileNameOf)]
  const names = new Set([...settings, ...SEED_NAMES])
  const closest = (name: string) => settings.find((other) => isCloseTo(name, other))
  const faults: string[] = []
  for (const name of Object.keys(dotenv)) {
    if (names.has(name)) continue
    const meant = closest(name)
    faults.push(`.env has ${name}, which is no setting${meant ? `; is ${meant} meant?` : ''}`)
  }
  for (const [name, value] of Object.entries(environment)) {
    const meant = value === undefined || names.has(name) || name in dotenv ? undefined : closest(name)
    if (meant) faults.push(`${name} is no setting; is ${meant} meant?`)
  }
  return faults
}

/** A short name is close to many: HOME, which every environment has, is two letters from HOST. */
const SHORT = 6
const MAX_TYPOS = 2

/** Whether at most two letters are changed, missing, added or swapped; in a short name, one. */
function isCloseTo(name: string, setting: string): boolean {
  const most = setting.length <= SHORT ? 1 : MAX_TYPOS
  return Math.abs(name.length - setting.length) <= most && typosBetween(name, setting) <= most
}

/** The optimal string alignment distance (Damerau-Levenshtein without moves of moved letters). */
function typosBetween(one: string, other: string): number {
  let before: number[] = []
  let above = Array.from({ length: other.length + 1 }, (_, column) => column)
  for (let row = 1; row <= one.length; row++) {
    const present = [row]
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1]
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      present[column] = Math.min(
        (above[column] ?? 0) + 1,
        (present[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped && row > 1 && column > 1 ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    before = above
    above = present
  }
  return above[other.length] ?? 0
}
