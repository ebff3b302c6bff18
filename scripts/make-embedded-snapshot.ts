/**
 * Writes the data directory that the binary's embedded database starts from, to
 * `dist/embedded-database.tar.gz` or to the given path. The build passes that file to `bun build --compile`
 * as an additional entry point.
 */
import { makeSnapshot } from '../src/db/embedded/engine.ts'

const path = process.argv[2] ?? `${import.meta.dir}/../dist/embedded-database.tar.gz`
const snapshot = await makeSnapshot()
await Bun.write(path, snapshot)
process.stdout.write(`${path}: ${snapshot.size} bytes\n`)
