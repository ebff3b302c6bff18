import { fsyncSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import { NodeFS } from '@electric-sql/pglite/nodefs'
import fsBundle from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import pgliteWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }
import { databaseError } from '../errors.ts'

/** A running PGlite. `isDown`: it has ended itself, as PostgreSQL does when its disk fails; only another can go on. */
export type Engine = { pg: PGlite; isDown(): boolean }

/** As PGlite's own, with fsync (there `-F` turns it off) and an eighth of the shared memory. */
const START_PARAMS = [
  ...PGlite.defaultStartParams.filter((param) => param !== '-F'),
  ...['fsync=on', 'wal_sync_method=fsync', 'shared_buffers=16MB'].flatMap((setting) => ['-c', setting]),
]

/** Opens the data in `directory`, or makes it there: from `snapshot` in under a second, else by initdb in a few. */
export async function startEngine(directory: string, snapshot: Blob | null): Promise<Engine> {
  let down = false
  const fs = diskFilesystem(directory, () => {
    down = true
  })
  const pg = await PGlite.create({
    ...(await engineFiles()),
    fs,
    startParams: START_PARAMS,
    ...(snapshot ? { loadDataDir: snapshot } : {}),
  })
  // Asked once more after its end, it would never return, and take the whole process with it.
  const execute = pg.execProtocolRawSync.bind(pg)
  pg.execProtocolRawSync = (message) => {
    if (down) throw databaseError('EMBEDDED_DOWN', 'the embedded database has stopped')
    return execute(message)
  }
  return { pg, isDown: () => down }
}

/** A freshly made data directory as a gzipped tar, cleanly shut down so that it starts without recovery. */
export async function makeSnapshot(): Promise<Blob> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-snapshot-'))
  try {
    const { pg } = await startEngine(directory, null)
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

/** PGlite looks for its files beside its module; in the binary they are elsewhere. Compiled once. */
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

/** PGlite's files on disk, with the fsync that its own lack: they would answer "done" and do nothing. */
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
