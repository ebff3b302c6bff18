import { SYSTEM } from '../../core/audit/audit.ts'
import { importUserFile } from '../../core/import/files.ts'
import { defineCommand } from '../command.ts'
import { fileArguments, readImportFile } from './import-file.ts'
import { showReport } from './import-report.ts'

/** `latchkey import users` */
export const command = defineCommand({
  kind: 'service',
  details: `
Each user is an object:
  {"email": "user@example.com", "password_hash": "$2b$12$…", "created_at": "2025-01-31T12:00:00Z"}
and may have id (a UUID is kept), role, is_active, email_verified and scopes. password_hash is bcrypt (cost 4 to 14) or
argon2 (at most 64 MiB, 10 passes); passwords go on as they are, and are hashed anew at the next login. Without one,
nobody can log in until a password is set. Of addresses that differ only in case the first is imported, the others are
reported. The same file again imports nobody twice. At most 8 MiB.`,
  examples: ['import users users.jsonl --dry-run', 'import users - --json < users.json'],
  ...fileArguments,
  readInput: (io, { file }) => readImportFile(io, file),
  run: (context, { 'dry-run': isTrial }, input, tell) =>
    importUserFile(context, SYSTEM, input ?? '', { isTrial, tell }),
  show: showReport,
})
