import type postgres from 'postgres'

/** One-dimensional arrays by the ids of their types, which are the same on every server. */
const ARRAYS: Record<string, { id: number; read: (text: string) => unknown }> = {
  bool: { id: 1000, read: (text) => text === 't' },
  int2: { id: 1005, read: Number },
  int4: { id: 1007, read: Number },
  text: { id: 1009, read: String },
  varchar: { id: 1015, read: String },
  uuid: { id: 2951, read: String },
}

/**
 * Arrays for postgres.js, which by itself asks each new connection for its array types, and takes the process down
 * when the connection is cut in the middle of that.
 */
export const arrayTypes: Record<string, postgres.PostgresType> = Object.fromEntries(
  Object.entries(ARRAYS).map(([name, { id, read }]) => [
    `${name}s`,
    { to: id, from: [id], serialize: writeArray, parse: (text: string) => readArray(text, read) },
  ]),
)

function writeArray(value: unknown): unknown {
  // A column of drizzle's has written its array already.
  if (!Array.isArray(value)) return value
  const items = value.map((item) => (item === null ? 'NULL' : `"${String(item).replace(/["\\]/g, '\\$&')}"`))
  return `{${items.join(',')}}`
}

const ITEM = /"((?:[^"\\]|\\.)*)"|([^,{}"]+)/gs

function readArray(text: string, read: (item: string) => unknown): unknown[] {
  return [...text.matchAll(ITEM)].map(([, quoted, plain = '']) => {
    if (quoted !== undefined) return read(quoted.replace(/\\(.)/gs, '$1'))
    return plain === 'NULL' ? null : read(plain)
  })
}
