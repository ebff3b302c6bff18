import { SYSTEM } from '../../core/audit/audit.ts'
import { importKeyFile } from '../../core/import/files.ts'
import { defineCommand } from '../command.ts'
import { fileArguments, readImportFile } from './import-file.ts'
import { showReport } from './import-report.ts'

/** `latchkey import keys` */
export const command = defineCommand({
  kind: 'service',
  details: `
Each key is an object as POST /keys/import takes it:
  {"owner": {"email": "user@example.com"}, "hash": "<SHA-256 in hex>", "name": "CI", "scopes": "read"}
owner has one of email, user_id and service_account_id; "key", the whole key, may stand in place of "hash". Each is
imported whole or not at all; what stands behind a bad one goes on, and the report says why it was refused. The same
file again imports nothing twice. At most 8 MiB.`,
  examples: ['import keys keys.jsonl --dry-run', 'import keys - --json < keys.json'],
  ...fileArguments,
  readInput: (io, { file }) => readImportFile(io, file),
  run: (context, { 'dry-run': isTrial }, input, tell) =>
    importKeyFile(context, SYSTEM, input ?? '', { isTrial, tell }),
  show: showReport,
})
