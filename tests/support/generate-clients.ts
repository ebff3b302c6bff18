/**
 * Generates clients from an OpenAPI document by three generators: `bun generate-clients.ts DOCUMENT DIRECTORY`. A process of
 * its own: two of the generators are written for the compiler's API of TypeScript 5, which TypeScript 7 no longer has.
 */
import { join } from 'node:path'
import { plugin } from 'bun'
import compiler from 'typescript-5'

plugin({
  name: 'typescript-5',
  setup(build) {
    build.module('typescript', () => ({ loader: 'object', exports: { ...compiler, default: compiler } }))
  },
})

const [document = '', directory = ''] = process.argv.slice(2)
// Imported once the compiler is in its place.
const { default: describeTypes, astToString } = await import('openapi-typescript')
const hey = await import('@hey-api/openapi-ts')
const orval = await import('orval')

const types = astToString(await describeTypes(await Bun.file(document).json()))
await Bun.write(join(directory, 'openapi-typescript.d.ts'), types)

await hey.createClient({
  input: document,
  output: join(directory, 'hey-api'),
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
  logs: { level: 'silent', file: false },
})

for (const client of ['fetch', 'zod'] as const)
  await orval.generate({
    input: { target: document },
    output: {
      mode: 'single',
      client,
      target: join(directory, `orval-${client}.ts`),
      baseUrl: { getBaseUrlFromSpecification: true },
    },
  })
