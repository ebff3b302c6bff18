export { importKeyFile, importUserFile } from '../files.ts'
export { importKeys } from '../keys.ts'
export type { Report } from '../report.ts'
export { importSeed } from './seed.ts'
