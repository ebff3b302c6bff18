import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { builtBinary, type RunningProgram, runProgram, startProgram } from '../support/binary.ts'
import { call } from '../support/client.ts'
import { makeBaseImages, openContainers, whyNoContainers } from '../support/container.ts'

const BUILD_TIMEOUT_MS = 480_000
const RUN_TIMEOUT_MS = 240_000
const why = whyNoContainers()

describe.skipIf(why !== null)(`the image of the Dockerfile${why === null ? '' : ` (${why})`}`, () => {
  let containers: ReturnType<typeof openContainers>
  let container = ''
  let image: ImageSettings

  beforeAll(async () => {
    containers = openContainers()
    await makeBaseImages(containers)
    const bases = ['BUILD_IMAGE=localhost/base-build', 'FINAL_IMAGE=localhost/base-final']
    await containers.run(
      'bud',
      '--isolation=chroot',
      // The image format of OCI has no health check, so the format of Docker is used.
      '--format=docker',
      ...bases.map((base) => `--build-arg=${base}`),
      '--tag=localhost/latchkey',
      '.',
    )
    image = JSON.parse(await containers.run('inspect', '--type=image', 'localhost/latchkey')).Docker
    container = await containers.run('from', 'localhost/latchkey')
  }, BUILD_TIMEOUT_MS)
  afterAll(() => containers.remove(), RUN_TIMEOUT_MS)

  /** The command line that runs a command in the container, on the network of this machine. */
  const inside = (env: Record<string, string>, ...command: string[]) => {
    const settings = Object.entries(env).map(([name, value]) => `--env=${name}=${value}`)
    return [...containers.buildah, 'run', '--isolation=chroot', ...settings, container, '--', ...command]
  }
  const start = () =>
    startProgram(
      inside(
        { PORT: '0', PUBLIC_URL: 'http://localhost', SHUTDOWN_DELAY_SECONDS: '0' },
        ...image.config.Entrypoint,
        ...image.config.Cmd,
      ),
      { cwd: '/', env: process.env },
    )
  const run = (env: Record<string, string>, ...command: string[]) =>
    runProgram(inside(env, ...command), { cwd: '/', env: process.env })

  test('has the configuration that a container engine needs', () => {
    expect(image.config).toMatchObject({
      User: '65532:65532',
      StopSignal: 'SIGTERM',
      Healthcheck: { Test: ['CMD', '/usr/local/bin/latchkey', 'healthcheck'] },
      ExposedPorts: { '8000/tcp': {} },
      Volumes: { '/data': {} },
    })
    expect(image.config.Env).toEqual(expect.arrayContaining(['HOST=0.0.0.0', 'PORT=8000', 'DATA_DIR=/data']))
  })

  test(
    'has the binary and no tools or sources of its build',
    async () => {
      const added = (await megabytesOf('localhost/latchkey')) - (await megabytesOf('localhost/base-final'))
      const binary = Bun.file(await builtBinary()).size / 1e6
      expect(Math.abs(added - binary)).toBeLessThan(2)
      // The control: the same command line runs the program that exists.
      expect((await run({}, 'latchkey', '--version')).code).toBe(0)
      expect((await run({}, '/bin/sh', '-c', 'true')).code).not.toBe(0)
    },
    BUILD_TIMEOUT_MS,
  )

  test(
    'serves as an unprivileged user, is healthy, makes an admin on demand, and keeps its data',
    async () => {
      await using first = await start()
      const env = { PORT: new URL(first.url).port }
      const [, ...healthcheck] = image.config.Healthcheck.Test
      expect(await run(env, ...healthcheck)).toMatchObject({ code: 0 })
      const made = await run(env, 'latchkey', 'admin', 'create', '--email', 'you@example.com')
      expect(made).toMatchObject({ code: 0, err: '' })
      const json = { email: 'you@example.com', password: /Password[^:]*: (\S+)/.exec(made.out)?.[1] ?? '' }
      expect((await call(first, 'POST /auth/login', { json })).status).toBe(200)

      const pid = await latchkeyBelow(first)
      expect(await ownerOf(pid)).toBe(65532)
      process.kill(pid, 'SIGTERM')
      expect(await first.exited).toBe(0)
      expect(await run(env, ...healthcheck)).toMatchObject({ code: 1 })

      await using second = await start()
      expect((await call(second, 'POST /auth/login', { json })).status).toBe(200)
      process.kill(await latchkeyBelow(second), 'SIGTERM')
      expect(await second.exited).toBe(0)
    },
    RUN_TIMEOUT_MS,
  )

  async function megabytesOf(name: string): Promise<number> {
    const [listed] = JSON.parse(await containers.run('images', '--json', name))
    return Number(/^([\d.]+) MB$/.exec(listed.size)?.[1])
  }
})

type ImageSettings = {
  config: {
    Entrypoint: string[]
    Cmd: string[]
    Env: string[]
    Healthcheck: { Test: string[] }
  }
}

/** The process of the server is the last descendant of buildah. */
async function latchkeyBelow({ pid }: RunningProgram): Promise<number> {
  for (let at = pid; ; ) {
    const { out } = await runProgram(['/usr/bin/pgrep', '-P', String(at)], { cwd: '/' })
    const child = Number(out.trim().split('\n').at(-1))
    if (child === 0) return at
    at = child
  }
}

async function ownerOf(pid: number): Promise<number> {
  const status = await Bun.file(`/proc/${pid}/status`).text()
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
}
