export { type ImportOptions, importKeyFile, importUserFile } from './files.ts'
export { importKeys } from './keys.ts'
export type { Report, Tell } from './report.ts'
export { importSeed, type SeedOptions } from './seed.ts'
