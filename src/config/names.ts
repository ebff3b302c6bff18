import { findClose } from '../lib/typos.ts'
import type { SettingSource } from './config.ts'
import type { Environment } from './reader.ts'

/** The settings that may come from a file: `NAME_FILE` is the path of a mounted secret. */
const SECRET_NAMES = [
  'SECRET_KEY',
  'SECRET_KEY_PREVIOUS',
  'DATABASE_URL',
  'DATABASE_DIRECT_URL',
  'REDIS_URL',
  'SMTP_URL',
  'ADMIN_PASSWORD',
  'METRICS_TOKEN',
  'HOME_KEY',
  'LATCHKEY_PASSPHRASE',
]
/** Settings in the `.env` of the replaced service that have no meaning here. They are not faults. */
const SEED_NAMES = ['APP_NAME', 'DEBUG']
const fileNameOf = (name: string) => `${name}_FILE`

/** Returns the content of a file, or why it cannot be read. */
export type ReadFile = (path: string) => { text: string } | { fault: string }

/** The sources of settings in the order of precedence: the environment, then `.env`. */
export type Sources = readonly [environment: Environment, dotenv: Environment]

/**
 * Takes each setting from the first source that has it or its `NAME_FILE`. An empty value counts as unset.
 * @param fault receives a sentence for each mistake
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
    // An editor added the line break at the end of the file.
    else merged[name] = file.text.replace(/\r?\n$/, '')
  }
  return merged
}

/** Which source has each of some settings. */
export function findSources(
  [environment]: Sources,
  merged: Environment,
  names: Iterable<string>,
): Map<string, SettingSource> {
  const set = [...names].filter((name) => isSet(merged[name]))
  return new Map(set.map((name) => [name, isSet(environment[name]) ? 'environment' : 'file']))
}

const isSet = (value: string | undefined) => value !== undefined && value.trim() !== ''

/** Variables of other programs that are one letter from a setting: npx sets NODE. */
const OF_OTHER_PROGRAMS = ['NODE', 'CODE']

/**
 * Finds faults in the names of settings. In `.env` every unknown name is a fault. The environment also has
 * the names of other programs, so a name there is a fault only if it is close to a setting's name.
 * @param known the names of all settings
 */
export function faultsOfNames([environment, dotenv]: Sources, known: readonly string[]): string[] {
  const settings = [...known, ...SECRET_NAMES.map(fileNameOf)]
  const names = new Set([...settings, ...SEED_NAMES])
  const others = new Set([...names, ...OF_OTHER_PROGRAMS])
  const closest = (name: string) => findClose(name, settings)
  const faults: string[] = []
  for (const name of Object.keys(dotenv)) {
    if (names.has(name)) continue
    const meant = closest(name)
    faults.push(`.env has ${name}, which is no setting${meant ? `; is ${meant} meant?` : ''}`)
  }
  for (const [name, value] of Object.entries(environment)) {
    const meant = value === undefined || others.has(name) || name in dotenv ? undefined : closest(name)
    if (meant) faults.push(`${name} is no setting; is ${meant} meant?`)
  }
  return faults
}
