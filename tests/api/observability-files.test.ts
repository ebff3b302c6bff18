import { beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { secret } from '../../src/lib/secret.ts'
import { call } from '../support/client.ts'
import { type Family, parseExposition, type Sample } from '../support/exposition.ts'
import { useService } from '../support/use-service.ts'
import { startVerifier } from '../support/verifier.ts'

type Panel = { id: number; type: string; title: string; targets?: { expr: string }[]; gridPos: Rectangle }
type Rectangle = { x: number; y: number; w: number; h: number }
type Rule = { alert: string; expr: string; labels: { severity: string }; annotations: { summary: string } }

const TOKEN = 'qX7vB2mK9qT4wZ8nRdF3'
const read = (path: string) => readFileSync(join(import.meta.dir, '../..', path), 'utf8')

const dashboard = JSON.parse(read('deploy/grafana/latchkey.json'))
const panels: Panel[] = dashboard.panels
const alerts = Bun.YAML.parse(read('deploy/prometheus/alerts.yaml')) as { groups: { rules: Rule[] }[] }
const rules = alerts.groups.flatMap((group) => group.rules)
const handbook = read('docs/observability.md')

const queries = [
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
]

// No Redis and no mail server runs there. A broken one has the same metrics as a working one.
const service = useService({
  metricsToken: secret(TOKEN),
  redisUrl: secret('redis://127.0.0.1:1'),
  smtpUrl: secret('smtp://127.0.0.1:1'),
  mailFrom: 'a@example.com',
})
let families: Map<string, Family>
let samples: Sample[]
beforeAll(async () => {
  await call(service, 'GET /health')
  // No region follows this database. A slot that is lost has the same metrics as a good one.
  Object.defineProperty(service.context.metrics, 'slots', {
    get: () => [{ slot: 'latchkey_eu', walStatus: 'reserved', bytesBehind: 0 }],
    set: () => {},
  })
  const verifier = await startVerifier(service, null, { metricsToken: secret(TOKEN) })
  const texts = [service, verifier].map((at) => call(at, 'GET /metrics', { bearer: TOKEN }))
  const [ofHome, ofVerifier] = (await Promise.all(texts)).map(({ text }) => parseExposition(text))
  families = new Map([...(ofVerifier ?? []), ...(ofHome ?? [])])
  await verifier.stop()
  samples = [...families.values()].flatMap((family) => family.samples)
})

const METRIC = /\b(?:latchkey|process|nodejs)_[a-z0-9_]+/g
/** Labels that Prometheus or the routes add. Their values are not known beforehand. */
const OPEN_LABELS = new Set(['job', 'instance', 'le', 'route', 'method', 'status'])

describe('every query, on the dashboard and in the alerts', () => {
  test('names only metrics that exist', () => {
    expect(queries.length).toBeGreaterThan(40)
    const names = new Set(samples.map(({ name }) => name))
    const asked = queries.flatMap(([title, expr]) =>
      [...expr.matchAll(METRIC)].map(([name]) => ({ title, name })),
    )
    expect(asked.length).toBeGreaterThan(40)
    expect(asked.filter(({ name }) => !names.has(name))).toEqual([])
  })

  test('selects only by labels and values that the metrics have', () => {
    const faults: string[] = []
    for (const [title, expr] of queries) {
      for (const [, name = '', selectors = ''] of expr.matchAll(/\b(latchkey_[a-z_]+)\{([^}]*)\}/g)) {
        const series = samples.filter((sample) => sample.name === name)
        for (const [, label = '', operator, value] of selectors.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)) {
          const isKnown = ['job', 'instance'].includes(label) || series.some(({ labels }) => label in labels)
          const hasValue =
            OPEN_LABELS.has(label) || operator !== '=' || series.some(({ labels }) => labels[label] === value)
          if (!isKnown || !hasValue) faults.push(`${title}: ${name}{${label}="${value}"}`)
        }
      }
    }
    expect(faults).toEqual([])
  })

  test('together the queries cover every metric of ours', () => {
    const text = queries.map(([, expr]) => expr).join('\n')
    const unused = [...families.keys()].filter((name) => name.startsWith('latchkey_') && !text.includes(name))
    expect(unused).toEqual([])
  })
})

describe('the dashboard', () => {
  test('has the members that Grafana needs, and panels that do not overlap', () => {
    expect(dashboard).toMatchObject({ uid: 'latchkey', title: 'Latchkey', schemaVersion: expect.any(Number) })
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const overlap = (a: Rectangle, b: Rectangle) =>
      a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
    const clashes = panels.flatMap((a, at) =>
      panels.slice(at + 1).filter((b) => overlap(a.gridPos, b.gridPos)),
    )
    expect(clashes).toEqual([])
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
  })

  test('has no fixed data source, job or instance', () => {
    const variables = dashboard.templating.list.map(({ name }: { name: string }) => name)
    expect(variables).toEqual(['datasource', 'job', 'instance'])
    const uids = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]*)"/g)].map(([, uid]) => uid)
    expect(new Set(uids)).toEqual(new Set(['latchkey', '$' + '{datasource}']))
  })
})

describe('the handbook', () => {
  test('has steps for every alert, and for no other', () => {
    const told = [...handbook.matchAll(/^### (Latchkey\w+)/gm)].map(([, alert]) => alert)
    expect(told.sort()).toEqual(rules.map(({ alert }) => alert).sort())
    for (const { labels, annotations } of rules) {
      expect(['critical', 'warning']).toContain(labels.severity)
      expect(annotations.summary).toBeString()
    }
  })

  test('explains every metric with its type and labels, and no other', () => {
    const rows = [
      ...handbook.matchAll(/^\| `([a-z0-9_]+)` +\| (counter|gauge|histogram) +\| ([^|]*)\|/gm),
    ].map(
      ([, name, type, labels = '']) =>
        `${name} ${type} ${[...labels.matchAll(/`(\w+)`/g)].map(([, l]) => l).sort()}`,
    )
    const exposed = [...families.values()].map(({ name, type, samples: lines }) => {
      const labels = new Set(lines.flatMap((sample) => Object.keys(sample.labels)))
      labels.delete('le')
      return `${name} ${type} ${[...labels].sort()}`
    })
    expect(rows.sort()).toEqual(exposed.sort())
  })

  test('comes with a sample configuration of Prometheus that reads these alerts', () => {
    const config = Bun.YAML.parse(read('deploy/prometheus/prometheus.yml'))
    expect(config).toMatchObject({
      rule_files: ['alerts.yaml'],
      scrape_configs: [{ job_name: 'latchkey' }],
    })
  })
})
