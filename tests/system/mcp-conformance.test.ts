import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Glob } from 'bun'
import type { RunningProgram } from '../support/binary.ts'
import { newPerson } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { startMcpExample } from '../support/mcp-example.ts'
import { adminToken, newClient } from '../support/oauth.ts'
import { allowByForms, newPlainBrowser, type Page } from '../support/plain-browser.ts'
import { registerApp } from '../support/registered-apps.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const root = resolve(import.meta.dir, '../..')
const RUNNER = 'node_modules/@modelcontextprotocol/conformance/dist/index.js'
/** The newest one that the SDK of the example speaks. */
const SPECIFICATION = '2025-11-25'
/** In milliseconds for a scenario, on a busy machine. */
const PATIENCE = ['--timeout', '200000']
/** What a protected server of any kind has to do. The other scenarios ask for tools of the runner's own sample server. */
const OF_SERVERS = ['server-initialize', 'ping', 'tools-list', 'dns-rebinding-protection']

const service = useService({ isIssuer: true })
const admin = prepare(async () => ({ access: await adminToken(service) }))
const person = prepare(() => newPerson(service))

let example: RunningProgram
/** Adds the API key: the runner sends no credential to a server. */
let front: Bun.Server<undefined>
let resource: string
let listens: string
beforeAll(async () => {
  const account = await newClient(service, admin.access, ['notes:read'])
  front = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch({ method, headers, body }) {
      const withKey = new Headers(headers)
      withKey.set('x-api-key', account.secret)
      return fetch(listens, { method, headers: withKey, body, decompress: false })
    },
  })
  resource = `http://127.0.0.1:${front.port}/mcp`
  const port = await freePort()
  listens = `http://127.0.0.1:${port}/mcp`
  example = await startMcpExample(service, admin.access, port, resource)
})
afterAll(async () => {
  await front?.stop(true)
  await example?.end('SIGTERM')
})

type Check = { id: string; status: string; errorMessage?: string }

/**
 * Runs the conformance runner of MCP.
 * @param onLine is told each line that the runner prints
 * @returns what it checked, in the order of the names: "ping: SUCCESS"
 */
async function run(words: readonly string[], onLine: (line: string) => void = () => {}): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-conformance-'))
  try {
    const command = [process.execPath, RUNNER, ...words, '--output-dir', directory]
    const runner = Bun.spawn(command, { cwd: root, stdout: 'pipe', stderr: 'pipe' })
    let told = ''
    let begun = ''
    const decoder = new TextDecoder()
    for await (const chunk of runner.stdout) {
      const text = decoder.decode(chunk, { stream: true })
      told += text
      const lines = (begun + text).split('\n')
      begun = lines.pop() ?? ''
      for (const line of lines) onLine(line)
    }
    await runner.exited
    const files = [...new Glob('**/checks.json').scanSync({ cwd: directory })]
    const checks: Check[] = (
      await Promise.all(files.map((file) => Bun.file(join(directory, file)).json()))
    ).flat()
    if (checks.length === 0) throw new Error(`Nothing was checked: ${told}${await runner.stderr.text()}`)
    return checks
      .map(({ id, status, errorMessage }) => `${id}: ${status}${errorMessage ? `, ${errorMessage}` : ''}`)
      .sort()
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test("MCP's conformance runner is content with the authorization server, and goes through its code flow", async () => {
  const app = await registerApp(service, admin.access, { redirect_uris: ['http://127.0.0.1/callback'] })
  const port = String(await freePort())
  const of = ['--client-id', app.id, '--resource', resource, '--port', port]
  const walked: Promise<Page>[] = []
  const checked = await run(['authorization', '--url', service.url, ...of], (line) => {
    const to = line.trim()
    if (to.startsWith(`${service.url}/oauth/authorize?`))
      walked.push(allowByForms(newPlainBrowser(), to, person))
  })
  expect(checked).toEqual([
    'authorization-code-grant: SUCCESS',
    'authorization-server-metadata-cimd: SUCCESS',
    'authorization-server-metadata: SUCCESS',
  ])
  expect((await walked[0])?.text).toContain('You can close this page')

  // The control: under another name of this machine the issuer is not the one that was asked.
  const other = service.url.replace('127.0.0.1', 'localhost')
  const scenario = ['--scenario', 'authorization-server-metadata-endpoint']
  const complaints = await run(['authorization', '--url', other, ...scenario])
  expect(complaints.join()).toContain(
    `authorization-server-metadata: FAILURE, Invalid issuer: ${service.url}`,
  )
})

test("MCP's conformance runner is content with the MCP server of the examples, by an API key", async () => {
  const runOn = (url: string, scenario: string) =>
    run(['server', '--url', url, '--scenario', scenario, '--spec-version', SPECIFICATION, ...PATIENCE])
  const [checked, refused] = await Promise.all([
    Promise.all(OF_SERVERS.map((scenario) => runOn(resource, scenario))),
    // The control: without the key it gets nowhere.
    runOn(listens, 'ping'),
  ])
  expect(checked).toEqual([
    ['server-initialize: SUCCESS', 'server-session-id-visible-ascii: INFO', 'wire-schema-valid: SUCCESS'],
    ['ping: SUCCESS', 'wire-schema-valid: SUCCESS'],
    ['tools-list: SUCCESS', 'tools-name-format: SUCCESS', 'wire-schema-valid: SUCCESS'],
    ['localhost-host-rebinding-rejected: SUCCESS', 'localhost-host-valid-accepted: SUCCESS'],
  ])
  expect(refused.join()).toMatch(/^ping: FAILURE.*missing_credential/)
})
