/** One line of Prometheus's text format. */
export type Sample = { name: string; labels: Record<string, string>; value: number }
/** A metric with its lines. A histogram has buckets, sums and counts. */
export type Family = { name: string; type: string; help: string; samples: Sample[] }

const HELP = /^# HELP ([a-z_:][a-z0-9_:]*) (\S.*)$/
const TYPE = /^# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge|histogram)$/
const SAMPLE = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y

/**
 * Parses Prometheus's text format strictly.
 * @throws Error at the first invalid line, at a repeated series, or for a histogram that does not add up
 */
export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  const seen = new Set<string>()
  let family: Family | null = null
  if (!text.endsWith('\n')) throw new Error('The last line has no end')
  for (const line of text.split('\n')) {
    const [, helped, help = ''] = HELP.exec(line) ?? []
    const [, typed, type = ''] = TYPE.exec(line) ?? []
    if (line === '') continue
    if (helped !== undefined) {
      if (families.has(helped)) throw new Error(`${helped} is there twice`)
      family = { name: helped, type: '', help, samples: [] }
      families.set(helped, family)
    } else if (typed !== undefined) {
      if (family?.name !== typed || family.samples.length > 0) throw new Error(`Out of place: ${line}`)
      family.type = type
    } else {
      const sample = readSample(line)
      if (!family || !belongs(sample, family)) throw new Error(`Of no family: ${line}`)
      const series = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
      if (seen.has(series)) throw new Error(`There twice: ${series}`)
      seen.add(series)
      family.samples.push(sample)
    }
  }
  for (const each of families.values()) if (each.type === 'histogram') checkHistogram(each)
  return families
}

function readSample(line: string): Sample {
  const [, name, labelText = '', text = ''] = SAMPLE.exec(line) ?? []
  const value = text === '+Inf' ? Infinity : Number(text)
  if (name === undefined || Number.isNaN(value)) throw new Error(`Not a sample: ${line}`)
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  for (let at = 0; at < labelText.length; at = LABEL.lastIndex) {
    const [, label, found = ''] = LABEL.exec(labelText) ?? []
    if (label === undefined || label in labels) throw new Error(`Not labels: ${line}`)
    labels[label] = found
  }
  return { name, labels, value }
}

function belongs(sample: Sample, { name, type }: Family): boolean {
  if (type !== 'histogram') return sample.name === name
  return [`${name}_bucket`, `${name}_sum`, `${name}_count`].includes(sample.name)
}

function checkHistogram({ name, samples }: Family): void {
  const groups = Map.groupBy(samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels))
  for (const [labels, group] of groups) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`)
    const count = group.find((sample) => sample.name === `${name}_count`)?.value
    const isRising = buckets.every(({ value }, at) => value >= (buckets[at - 1]?.value ?? 0))
    const last = buckets.at(-1)
    if (!isRising || last?.labels.le !== '+Inf' || last.value !== count)
      throw new Error(`${name}${labels} does not add up`)
  }
}

/** The sum of a metric's series with these labels; 0 if there are none. */
export function valueIn(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string> = {},
): number {
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''))
  return (family?.samples ?? [])
    .filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0)
}
