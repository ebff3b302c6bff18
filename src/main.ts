import { processIo } from './cli/io.ts'
import { runCommandLine } from './cli/run.ts'

process.exit(await runCommandLine(process.argv.slice(2), processIo()))
