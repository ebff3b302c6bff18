import type { ReactNode } from 'react'

export type Column<Row> = {
  head: string
  cell(row: Row): ReactNode
  /** A number stands at the right. */
  isNumber?: boolean
}

/** Rows with their headings. On a phone each row is a card, and each cell has its heading beside it. */
export function Table<Row>({
  label,
  columns,
  rows,
  idOf,
}: {
  label: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  idOf(row: Row): string
}) {
  return (
    // Roles, since a browser forgets them where a row is drawn as a card.
    <table aria-label={label}>
      <thead>
        <tr>
          {columns.map(({ head, isNumber }) => (
            <th key={head} scope="col" className={isNumber ? 'number' : undefined}>
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={idOf(row)}>
            {columns.map(({ head, cell, isNumber }) => (
              <td key={head} data-head={head} className={isNumber ? 'number' : undefined}>
                <div>{cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
