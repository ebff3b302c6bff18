import { useChange } from '../lib/api.ts'
import { saveCsv } from '../lib/csv.ts'
import { texts } from '../texts.ts'
import { Problem } from './problem.tsx'

/** Saves what a filter lists as a file. */
export function ExportCsv({
  path,
  query,
  name,
}: {
  path: string
  query: Record<string, string>
  name: string
}) {
  const day = new Date().toISOString().slice(0, 10)
  const change = useChange(() => saveCsv(path, query, `${name}-${day}.csv`), { done: texts.csv.done })
  return (
    <>
      <button type="button" className="plain" disabled={change.isPending} onClick={() => change.mutate()}>
        {change.isPending ? texts.csv.busy : texts.csv.export}
      </button>
      {change.error && <Problem error={change.error} />}
    </>
  )
}
