import { existsSync, fsyncSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import { NodeFS } from '@electric-sql/pglite/nodefs'
import fsBundle from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import pgliteWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }
import { databaseError } from '../errors.ts'

/**
 * A running PGlite. `isDown`: it has ended itself, as PostgreSQL does when its disk fails. Only a new engine
 * can continue.
 */
export type Engine = { pg: PGlite; isDown(): boolean }

/** PGlite's own parameters, but with fsync (PGlite passes `-F`) and an eighth of the shared memory. */
const START_PARAMS = [
  ...PGlite.defaultStartParams.filter((param) => param !== '-F'),
  ...['fsync=on', 'wal_sync_method=fsync', 'shared_buffers=16MB'].flatMap((setting) => ['-c', setting]),
]

/**
 * Opens the data in `directory`, or creates it: from `snapshot` in less than a second, or by initdb in a few
 * seconds.
 */
export async function startEngine(directory: string, snapshot: Blob | null): Promise<Engine> {
  // PGlite's `loadDataDir` would read all files into memory, and the process would keep most of that memory.
  if (snapshot) await new Bun.Archive(await snapshot.bytes()).extract(directory)
  else if (!existsSync(join(directory, 'PG_VERSION'))) await initialize(directory)
  return createEngine(directory)
}

/**
 * Runs initdb in a worker thread. On this thread, half a gigabyte of compiled WebAssembly and its memory
 * would stay allocated. Only used from source: the binary has a snapshot. A worker ends together with this
 * process; a child process might still write to a directory that the next start has cleared.
 */
async function initialize(directory: string): Promise<void> {
  const worker = new Worker(new URL('./initdb-worker.ts', import.meta.url).href)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  worker.onmessage = () => resolve()
  worker.onerror = ({ message }) => reject(new Error(`initdb failed: ${message}`))
  worker.postMessage(directory)
  await promise.finally(() => worker.terminate())
}

/** Opens the data in `directory`. Runs initdb first if there is no data. */
export async function createEngine(directory: string): Promise<Engine> {
  let down = false
  const fs = diskFilesystem(directory, () => {
    down = true
  })
  const pg = await PGlite.create({
    ...(await engineFiles()),
    fs,
    startParams: START_PARAMS,
  })
  // After the engine has ended, another call would never return and would block the whole process.
  const execute = pg.execProtocolRawSync.bind(pg)
  pg.execProtocolRawSync = (message) => {
    if (down) throw databaseError('EMBEDDED_DOWN', 'the embedded database has stopped')
    return execute(message)
  }
  return { pg, isDown: () => down }
}

/**
 * Makes a new data directory as a gzipped tar. It is shut down cleanly, so that it starts without recovery.
 */
export async function makeSnapshot(): Promise<Blob> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-snapshot-'))
  try {
    const { pg } = await createEngine(directory)
    await pg.close()
    const closed = await PGlite.create({
      ...(await engineFiles()),
      fs: new NodeFS(directory),
      noInitDb: true,
    })
    return await closed.dumpDataDir('gzip')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

type Files = { pgliteWasmModule: WebAssembly.Module; initdbWasmModule: WebAssembly.Module; fsBundle: Blob }
let files: Promise<Files> | null = null

/**
 * Loads PGlite's files. PGlite looks for them beside its module, but in the binary they are elsewhere. They
 * are compiled once.
 */
function engineFiles(): Promise<Files> {
  files ??= loadFiles()
  return files
}

async function loadFiles(): Promise<Files> {
  const compile = async (path: string) => WebAssembly.compile(await Bun.file(path).arrayBuffer())
  const [pgliteWasmModule, initdbWasmModule] = await Promise.all([compile(pgliteWasm), compile(initdbWasm)])
  return { pgliteWasmModule, initdbWasmModule, fsBundle: Bun.file(fsBundle) }
}

type Emscripten = {
  NODEFS: {
    stream_ops: { fsync?: (stream: { nfd: number }) => number }
    tryFSOperation<T>(work: () => T): T
  }
}

/**
 * PGlite's files on disk with a real fsync. PGlite's own fsync does nothing and reports success, so a crash
 * would lose acknowledged commits.
 */
function diskFilesystem(directory: string, onAbort: () => void): NodeFS {
  const files = new NodeFS(directory)
  const init = files.init.bind(files)
  files.init = async (pg, given) => {
    const { emscriptenOpts } = await init(pg, given)
    const sync = (mod: unknown) => {
      const { NODEFS } = mod as Emscripten
      NODEFS.stream_ops.fsync = ({ nfd }) =>
        NODEFS.tryFSOperation(() => {
          fsyncSync(nfd)
          return 0
        })
    }
    return {
      emscriptenOpts: { ...emscriptenOpts, onAbort, preRun: [...(emscriptenOpts.preRun ?? []), sync] },
    }
  }
  return files
}
