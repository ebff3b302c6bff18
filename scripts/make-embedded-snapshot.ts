/**
 * Writes the data directory that the binary starts its embedded database from to `dist/embedded-database.tar.gz`, or
 * to the path given. The build hands that file to `bun build --compile` as one more entry point.
 */
import { makeSnapshot } from '../src/db/embedded/engine.ts'

const path = process.argv[2] ?? `${import.meta.dir}/../dist/embedded-database.tar.gz`
const snapshot = await makeSnapshot()
await Bun.write(path, snapshot)
process.stdout.write(`${path}: ${snapshot.size} bytes\n`)
