/** One piece of a printed script: words for the person who runs it, or a statement without its semicolon. */
export type Piece = { note: string } | { sql: string }

/** A script that an operator reads and runs. `statements` has it for a program, which runs each by itself. */
export type Script = { pieces: Piece[] }

export const note = (text: string): Piece => ({ note: text })
export const run = (...statements: string[]): Piece[] => statements.map((sql) => ({ sql }))

/** The statements alone, in their order. */
export const statementsOf = ({ pieces }: Script): string[] =>
  pieces.flatMap((piece) => ('sql' in piece ? [piece.sql] : []))

/** The script as `psql` takes it. */
export const formatScript = ({ pieces }: Script): string =>
  pieces
    .map((piece) =>
      'sql' in piece
        ? `${piece.sql};`
        : `\n${piece.note
            .split('\n')
            .map((line) => `-- ${line}`)
            .join('\n')}`,
    )
    .join('\n')
    .trimStart()

/** A name in SQL. It is written plainly where it needs no quotes. */
export const quoteName = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`

/** The one column of a published table whose name is a word of SQL. */
const RESERVED = new Set(['only'])

/** A text in SQL, whatever `standard_conforming_strings` says. */
export const quoteText = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

export const columnList = (columns: readonly string[]): string => columns.map(quoteName).join(', ')

/** Makes a role of that name, unless the server has one. */
export const createRole = (role: string, attributes: string): string => `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${quoteText(role)}) THEN
    CREATE ROLE ${quoteName(role)} ${attributes};
  END IF;
END $$`

/** Lets a role connect to the present database, which the script does not name. */
export const grantConnect = (role: string): string => `DO $$ BEGIN
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), ${quoteText(role)});
END $$`
