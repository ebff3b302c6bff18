import type { ReactNode } from 'react'

export type Column<Row> = {
  head: string
  cell(row: Row): ReactNode
  /** A number stands at the right. */
  isNumber?: boolean
  /** A box to tick: it stands first, and in the corner of a card. */
  isPick?: boolean
}

const lookOf = ({ isNumber, isPick }: Pick<Column<never>, 'isNumber' | 'isPick'>) =>
  isNumber ? 'number' : isPick ? 'pick' : undefined

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
    <div className="table">
      <table aria-label={label}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.head} scope="col" className={lookOf(column)}>
                {column.isPick ? <span className="hidden">{column.head}</span> : column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={idOf(row)}>
              {columns.map((column) => (
                <td key={column.head} data-head={column.head} className={lookOf(column)}>
                  <div>{column.cell(row)}</div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
