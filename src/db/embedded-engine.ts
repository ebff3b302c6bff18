import { fsyncSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import { NodeFS } from '@electric-sql/pglite/nodefs'
import fsBundle from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import pgliteWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }

export type { PGlite } from '@electric-sql/pglite'

/** As PGlite's own, with fsync (there `-F` turns it off) and an eighth of the shared memory. */
const START_PARAMS = PGlite.defaultStartParams.filter((param) => param !== '-F')
START_PARAMS.push('-c', 'fsync=on', '-c', 'wal_sync_method=fsync', '-c', 'shared_buffers=16MB')

/** Opens the data in `directory`, or makes it there: from `snapshot` in half a second, else by initdb in four. */
export async function startEngine(directory: string, snapshot: Blob | null): Promise<PGlite> {
  return PGlite.create({
    ...(await engineFiles()),
    fs: syncingFilesystem(directory),
    startParams: START_PARAMS,
    ...(snapshot ? { loadDataDir: snapshot } : {}),
  })
}

/** A freshly made data directory, as a gzipped tar. */
export async function makeSnapshot(): Promise<Blob> {
  const pg = await PGlite.create(await engineFiles())
  await pg.exec('CHECKPOINT')
  const dump = await pg.dumpDataDir('gzip')
  await pg.close()
  return dump
}

/** PGlite looks for its files beside its module; in the binary they are elsewhere. */
async function engineFiles() {
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

/** PGlite's file system has no fsync: it would answer "done" and do nothing. */
function syncingFilesystem(directory: string): NodeFS {
  const files = new NodeFS(directory)
  const init = files.init.bind(files)
  files.init = async (pg, given) => {
    const made = await init(pg, given)
    made.emscriptenOpts.preRun?.push((mod) => {
      const { NODEFS } = mod as unknown as Emscripten
      NODEFS.stream_ops.fsync = ({ nfd }) =>
        NODEFS.tryFSOperation(() => {
          fsyncSync(nfd)
          return 0
        })
    })
    return made
  }
  return files
}
