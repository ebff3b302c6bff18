import type postgres from 'postgres'

/** One-dimensional arrays by type id. These ids are the same on every server. */
const ARRAYS: Record<string, { id: number; read: (text: string) => unknown }> = {
  bool: { id: 1000, read: (text) => text === 't' },
  int2: { id: 1005, read: Number },
  int4: { id: 1007, read: Number },
  text: { id: 1009, read: String },
  varchar: { id: 1015, read: String },
  uuid: { id: 2951, read: String },
}

/**
 * Array types for postgres.js. By default postgres.js queries them on every new connection, and the process
 * crashes if the connection is cut during that query.
 */
export const arrayTypes: Record<string, postgres.PostgresType> = Object.fromEntries(
  Object.entries(ARRAYS).map(([name, { id, read }]) => [
    `${name}s`,
    { to: id, from: [id], serialize: writeArray, parse: (text: string) => readArray(text, read) },
  ]),
)

function writeArray(value: unknown): unknown {
  // drizzle has already written the array of one of its columns as text.
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
