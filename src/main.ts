import { runCommandLine } from './cli/run.ts'
import { processIo } from './cli/terminal.ts'
import { processSettings } from './config/load.ts'

process.exit(await runCommandLine(process.argv.slice(2), processIo(), processSettings()))
