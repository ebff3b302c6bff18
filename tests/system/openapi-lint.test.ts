import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { documentOf, operationsOf } from '../support/described.ts'
import { startService } from '../support/service.ts'

async function lint(it: object) {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-openapi-'))
  try {
    const file = join(directory, 'openapi.json')
    await Bun.write(file, JSON.stringify(it, null, 2))
    const words = ['x', 'redocly', 'lint', file, '--config', 'redocly.yaml', '--format', 'json']
    const linter = Bun.spawn([process.execPath, '--bun', ...words], {
      cwd: join(import.meta.dir, '../..'),
      env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
      stderr: 'pipe',
    })
    const report = JSON.parse(await new Response(linter.stdout).text())
    const problems: { ruleId: string; message: string }[] = report.problems
    return {
      exitCode: await linter.exited,
      problems: problems.map(({ ruleId, message }) => `${ruleId}: ${message}`),
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test('a linter finds no error and no warning in the OpenAPI document, and finds a planted fault', async () => {
  const service = await startService({ publicUrl: 'https://auth.latchkey.test/base' })
  const document = await documentOf(service)
  await service.stop()
  expect(await lint(document)).toEqual({ exitCode: 0, problems: [] })
  const broken = structuredClone(document)
  for (const { operation } of operationsOf(broken)) delete operation.parameters
  const { exitCode, problems } = await lint(broken)
  expect(exitCode).toBe(1)
  expect(problems.join()).toContain('path-parameters-defined')
})
