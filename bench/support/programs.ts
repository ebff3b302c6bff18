import { join } from 'node:path'
import { type ServerProcess, startServerProcess } from './process.ts'

const DIRECTORY = join(import.meta.dir, '../programs')

/** The command line of a program of the bench. */
export const commandOf = (name: string, ...args: string[]): string[] => [
  process.execPath,
  '--no-env-file',
  join(DIRECTORY, `${name}.ts`),
  ...args,
]

/** Starts a server program of the bench. */
export function startProgram(
  name: string,
  args: readonly string[],
  { isPinned = true }: { isPinned?: boolean } = {},
): Promise<ServerProcess> {
  return startServerProcess(commandOf(name, ...args), {}, isPinned)
}
