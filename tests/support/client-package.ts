import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { emptyDirectory, runProgram, startProgram } from './binary.ts'
import type { FrameworkServer } from './node-servers.ts'

const root = resolve(import.meta.dir, '../..')

let built: Promise<string> | null = null

/** The package that `bun run build:client` makes, packed by `bun pm pack` and unpacked again. */
export function clientPackage(): Promise<string> {
  built ??= buildAndPack()
  return built
}

async function buildAndPack(): Promise<string> {
  const here = emptyDirectory()
  process.once('exit', () => here[Symbol.dispose]())
  const bun = async (cwd: string, ...words: string[]) => {
    const run = await runProgram([process.execPath, ...words], { cwd, env: process.env })
    if (run.code !== 0) throw new Error(`"bun ${words.join(' ')}" failed:\n${run.out}${run.err}`)
  }
  const made = join(here.path, 'made')
  await bun(root, 'scripts/build-client.ts', `--outdir=${made}`)
  await bun(made, 'pm', 'pack', '--filename', join(here.path, 'latchkey.tgz'))
  const unpacked = await runProgram(['tar', '-xzf', 'latchkey.tgz'], { cwd: here.path, env: process.env })
  if (unpacked.code !== 0) throw new Error(unpacked.err)
  return join(here.path, 'package')
}

/**
 * A project that has installed the package and, apart from that, only these modules.
 * @param files the contents of the project's files, by name
 */
export async function projectWith(modules: readonly string[], files: Record<string, string>) {
  const here = emptyDirectory()
  const into = join(here.path, 'node_modules')
  cpSync(await clientPackage(), join(into, 'latchkey'), { recursive: true })
  for (const name of ['jose', ...modules]) {
    mkdirSync(dirname(join(into, name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(into, name))
  }
  writeFileSync(join(here.path, 'package.json'), '{"type":"module"}')
  for (const [name, text] of Object.entries(files)) writeFileSync(join(here.path, name), text)
  return here
}

/** A server of `node-servers.ts` that runs in Node with the installed package. */
export async function startOnNode(
  framework: string,
  latchkey: Record<string, string>,
): Promise<FrameworkServer> {
  const bundle = await Bun.build({
    entrypoints: [join(import.meta.dir, 'node-main.ts')],
    target: 'node',
    external: ['latchkey/*', 'express', 'fastify'],
  })
  const main = (await bundle.outputs[0]?.text()) ?? ''
  const here = await projectWith(['express', 'fastify'], { 'main.js': main })
  const server = await startProgram(['node', 'main.js'], {
    cwd: here.path,
    env: { ...latchkey, FRAMEWORK: framework },
  })
  return {
    url: server.url,
    async stop() {
      await server.end('SIGKILL')
      here[Symbol.dispose]()
    },
  }
}
