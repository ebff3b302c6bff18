import type { Figure, Finding } from './entry.ts'

type Unit = Finding['unit']

/** Describes a finding for a person who watches the run. */
export function describeFinding(finding: Finding): string {
  const { what, unit, figure, byTime, withDatabase, budget, details } = finding
  const verdict = budget ? `, budget ${budget.text}: ${budget.verdict}` : ''
  const lines = [
    whole(figure, unit) + verdict,
    byTime && `by time ${whole(byTime, unit)}`,
    withDatabase && `with PostgreSQL's processor time ${whole(withDatabase, unit)}`,
    ...details,
  ]
  return [`  ${what}`, ...lines.filter(Boolean).map((line) => `    ${line}`)].join('\n')
}

/** Writes the findings as rows of bench/README.md. */
export function markdownTable(findings: readonly (Finding & { entry: string })[]): string {
  const rows = findings.map(({ entry, what, unit, figure, byTime, withDatabase, budget }) => [
    `\`${entry}\``,
    what,
    whole(figure, unit),
    withDatabase ? write(withDatabase.middle, unit) : '',
    byTime ? write(byTime.middle, unit) : '',
    budget?.text ?? '',
    budget?.verdict ?? '',
  ])
  const head = ['entry', 'what', 'figure (lowest–highest)', 'with PostgreSQL', 'by time', 'budget', 'verdict']
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('')
}

const whole = ({ middle, least, greatest }: Figure, unit: Unit) =>
  `${write(middle, unit)} (${digits(least, unit)}–${digits(greatest, unit)})`

const write = (value: number, unit: Unit) => digits(value, unit) + (unit === 'ratio' ? '' : ` ${unit}`)

const digits = (value: number, unit: Unit) =>
  value.toFixed(unit === 'ratio' ? (value < 0.1 ? 3 : 2) : value < 10 ? 1 : 0)
