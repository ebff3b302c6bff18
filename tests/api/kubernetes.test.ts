import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../../src/config/read.ts'
import { call } from '../support/client.ts'
import { useService } from '../support/use-service.ts'

// No cluster runs here. These tests compare the files with the settings, the image and a running server.

const ROOT = join(import.meta.dir, '../..')
const FOLDER = join(ROOT, 'deploy/kubernetes')
const textOf = (path: string) => Bun.file(join(FOLDER, path)).text()

/** An object of Kubernetes, whose shape the test then asserts. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
type KubernetesObject = any

const kustomization: KubernetesObject = Bun.YAML.parse(await textOf('kustomization.yaml'))
const objects: KubernetesObject[] = []
for (const path of kustomization.resources) objects.push(...[Bun.YAML.parse(await textOf(path))].flat())
const find = (kind: string, name = 'latchkey') => {
  const found = objects.find((each) => each.kind === kind && each.metadata.name === name)
  if (found === undefined) throw new Error(`There is no ${kind} ${name}`)
  return found
}
const deployment = find('Deployment').spec
const job = find('Job', 'latchkey-migrate').spec
const pods: [string, KubernetesObject][] = [
  ['the server', deployment.template],
  ['the migration', job.template],
]
const server = deployment.template.spec.containers[0]

/** The environment of a container, with that of the ConfigMap and of the image. */
async function settingsOf(container: KubernetesObject): Promise<Record<string, string>> {
  const image = (await Bun.file(join(ROOT, 'Dockerfile')).text()).match(/^ENV (?:.*\\\n)*.*$/m)?.[0] ?? ''
  const lines = [
    ...image.matchAll(/\b([A-Z_]+)=(\S+)/g),
    ...(await textOf('settings.env')).matchAll(/^([A-Z_]+)=(.*)$/gm),
  ]
  const given = container.env.map(({ name, value }: { name: string; value: string }) => [name, value])
  return Object.fromEntries([...lines.map(([, name, value]) => [name, value]), ...given])
}

const SECRETS: Record<string, string> = {
  DATABASE_URL: 'postgres://latchkey:pw@db.example.com/latchkey',
  SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex'),
}

/** The settings of a pod. Every name has to be a setting, as in `.env`. */
function read(settings: Record<string, string>, mountPath: string) {
  const dotenv = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  const readFile = (path: string) => {
    const text = path.startsWith(`${mountPath}/`) ? SECRETS[path.slice(mountPath.length + 1)] : undefined
    return text === undefined ? { fault: `${path} is not mounted` } : { text }
  }
  return readConfig({}, { dotenv: dotenv.join(''), readFile })
}

describe.each(pods)('deploy/kubernetes: %s', (_, { spec, metadata }) => {
  const [container] = spec.containers

  test('has only settings that exist, and reads its secrets from files', async () => {
    const [{ mountPath, readOnly }] = container.volumeMounts
    expect(readOnly).toBe(true)
    const settings = await settingsOf(container)
    const result = read(settings, mountPath)
    if ('faults' in result) throw new Error(result.faults.join('\n'))
    expect(result.warnings).toEqual([])
    expect(result.config).toMatchObject({ migrate: 'check', publicUrlIsSet: true, host: '0.0.0.0' })
    expect(result.config.databaseUrl?.reveal()).toContain('db.example.com')
    expect(result.config.secretKey?.reveal()).toBe(SECRETS.SECRET_KEY ?? '')
    // The control: an unknown name and a missing file are faults.
    expect(read({ ...settings, PUBLIC_ADDRESS: 'x' }, mountPath)).toHaveProperty('faults')
    expect(read(settings, '/elsewhere')).toHaveProperty('faults')
  })

  test('has the rights of the user of the image, and no others', async () => {
    const user = (await Bun.file(join(ROOT, 'Dockerfile')).text())
      .match(/^USER (\d+):(\d+)$/m)
      ?.slice(1)
      .map(Number)
    expect(user).toEqual([65532, 65532])
    const [runAsUser, runAsGroup] = user ?? []
    expect(spec).toMatchObject({
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser,
        runAsGroup,
        fsGroup: runAsGroup,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    // 0440: the process reads its secrets as a member of the group, and others may not write them (docs/decisions/0032).
    const [{ secret }] = spec.volumes
    expect(secret).toEqual({ secretName: 'latchkey', defaultMode: 0o440 })
    expect(container.resources).toMatchObject({
      requests: { cpu: expect.any(String), memory: expect.any(String) },
      limits: { memory: expect.any(String) },
    })
    expect(container.image).toBe(kustomization.images[0].name)
    expect(metadata.labels['app.kubernetes.io/component']).toBeOneOf(['server', 'migration'])
  })
})

describe('deploy/kubernetes: the server', () => {
  const service = useService()
  const ports: Record<string, number> = Object.fromEntries(
    server.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [
      name,
      containerPort,
    ]),
  )
  const probes: [string, string][] = [
    ['startupProbe', '/livez'],
    ['livenessProbe', '/livez'],
    ['readinessProbe', '/readyz'],
  ]

  test('listens on the named ports, which all other files name', async () => {
    const result = read(await settingsOf(server), server.volumeMounts[0].mountPath)
    if ('faults' in result) throw new Error(result.faults.join('\n'))
    expect(ports).toEqual({ http: result.config.port, metrics: result.config.metricsPort ?? 0 })
    const named = [
      ...probes.map(([probe]) => server[probe].httpGet.port),
      ...find('Service').spec.ports.map(({ targetPort }: { targetPort: string }) => targetPort),
      ...find('NetworkPolicy').spec.ingress.flatMap(({ ports }: { ports: { port: string }[] }) =>
        ports.map(({ port }) => port),
      ),
      ...find('PodMonitor').spec.podMetricsEndpoints.map(({ port }: { port: string }) => port),
    ]
    expect(named).toHaveLength(7)
    for (const name of named) expect(Object.keys(ports)).toContain(name)
  })

  test.each(probes)('%s asks %s, which is there', async (probe, path) => {
    expect(server[probe].httpGet.path).toBe(path)
    expect((await call(service, `GET ${path}`)).status).toBe(200)
  })

  test('has the grace periods that its settings need', async () => {
    const result = read(await settingsOf(server), server.volumeMounts[0].mountPath)
    if ('faults' in result) throw new Error(result.faults.join('\n'))
    const { databaseWaitSeconds, shutdownDelaySeconds, databasePoolSize } = result.config
    const { startupProbe, readinessProbe } = server
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBeGreaterThan(databaseWaitSeconds)
    expect(deployment.template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
      shutdownDelaySeconds + 30,
    )
    // docs/decisions/0015: a request waits four seconds at most.
    expect(readinessProbe.timeoutSeconds).toBeGreaterThan(4)
    // PostgreSQL's own max_connections is 100.
    expect(find('HorizontalPodAutoscaler').spec.maxReplicas * (databasePoolSize + 2)).toBeLessThan(100)
  })

  test('is selected by the other objects', () => {
    const { labels } = deployment.template.metadata
    const selectors = [
      deployment.selector.matchLabels,
      find('Service').spec.selector,
      find('PodDisruptionBudget').spec.selector.matchLabels,
      find('NetworkPolicy').spec.podSelector.matchLabels,
    ]
    for (const selector of selectors) expect(labels).toMatchObject(selector)
    expect(find('HorizontalPodAutoscaler').spec.scaleTargetRef).toMatchObject({
      kind: 'Deployment',
      name: 'latchkey',
    })
    for (const path of kustomization.resources) expect(existsSync(join(FOLDER, path))).toBe(true)
  })
})
