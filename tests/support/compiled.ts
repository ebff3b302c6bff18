import { builtBinary, type RunningProgram, runProgram, startProgram } from './binary.ts'

/**
 * `latchkey` and `serve` of `program.ts`, by the binary: a command and a start take half the work that they take
 * from source. For tests in which it does not matter how Latchkey was built.
 */
export async function latchkey(
  cwd: string,
  words: readonly string[],
  env: Record<string, string> = {},
  stdin = '',
): Promise<{ code: number; out: string; err: string }> {
  return runProgram([await builtBinary(), ...words], { cwd, env, stdin })
}

/** Starts a server in that directory, with no environment except `env`. */
export async function serve(cwd: string, env: Record<string, string> = {}): Promise<RunningProgram> {
  return startProgram([await builtBinary(), 'serve'], { cwd, env })
}
