import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { emptyDirectory, runProgram } from '../support/binary.ts'
import { documentOf } from '../support/described.ts'
import { verifierKey } from '../support/latchkey-client.ts'
import { startService, type TestService } from '../support/service.ts'

const root = resolve(import.meta.dir, '../..')
const TSC = join(root, 'node_modules/typescript/bin/tsc')

/** The steps of each program below. Each program prints the results. */
const START = `
declare const process: { env: Record<string, string | undefined>; stdout: { write(text: string): void } }
const { SERVICE_KEY = '', EMAIL = '' } = process.env
const credentials = { email: EMAIL, password: 'correct horse battery staple' }
const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
const tell = (...seen: unknown[]) => process.stdout.write(JSON.stringify(seen))
function known<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('The answer lacks something')
  return value
}
`
/** The results: sign-up, the type of the token, the scopes of the key, its verification, its introspection, its revocation. */
const SEEN = ['user', 'bearer', ['read'], 'VALID', 'api_key', 'REVOKED', 'invalid_login']

const PROGRAMS: [string, string[], string][] = [
  [
    'openapi-fetch',
    ['openapi-fetch'],
    `
import createClient from 'openapi-fetch'
import type { paths } from './openapi-typescript'
const baseUrl = known(process.env.BASE_URL)
const open = createClient<paths>({ baseUrl })
const as = (token: string) => createClient<paths>({ baseUrl, headers: { Authorization: 'Bearer ' + token } })
const made = known((await open.POST('/auth/signup', { body: credentials })).data)
if (!('role' in made)) throw new Error('The account waits for its address to be confirmed')
const tokens = known((await open.POST('/auth/login', { body: credentials })).data)
const created = known((await as(tokens.access_token).POST('/keys', { body: { name: 'generated', scopes: ['read'] } })).data)
const service = as(SERVICE_KEY)
const key: string = created.key
const verified = known((await service.POST('/keys/verify', { body: { key, scopes: ['read'] } })).data)
const found = known((await service.POST('/oauth/introspect', { body: { token: key }, headers: form })).data)
await open.POST('/oauth/revoke', { body: { token: key }, headers: form })
const after = known((await service.POST('/keys/verify', { body: { key } })).data)
const { error } = await open.POST('/auth/login', { body: { ...credentials, password: 'wrong' } })
tell(made.role, tokens.token_type, created.scopes, verified.code, found.token_kind, after.code, error?.code)
// @ts-expect-error a name is text
open.POST('/keys', { body: { name: 5 } })
`,
  ],
  [
    'hey-api',
    [],
    `
import { createClient } from './hey-api/client'
import { introspectToken, logIn, postKey, revokeToken, signUp, verifyKey } from './hey-api'
import { client as open } from './hey-api/client.gen'
// The generated functions send the credential exactly where the document asks for one.
const as = (token: string) => createClient({ ...open.getConfig(), auth: () => token })
const made = known((await signUp({ body: credentials })).data)
if (!('role' in made)) throw new Error('The account waits for its address to be confirmed')
const tokens = known((await logIn({ body: credentials })).data)
const created = known((await postKey({ client: as(tokens.access_token), body: { name: 'generated', scopes: ['read'] } })).data)
const client = as(SERVICE_KEY)
const key: string = created.key
const verified = known((await verifyKey({ client, body: { key, scopes: ['read'] } })).data)
const found = known((await introspectToken({ client, body: { token: key } })).data)
await revokeToken({ client, body: { token: key } })
const after = known((await verifyKey({ client, body: { key } })).data)
const { error } = await logIn({ body: { ...credentials, password: 'wrong' } })
tell(made.role, tokens.token_type, created.scopes, verified.code, found.token_kind, after.code, known(error).code)
// @ts-expect-error a name is text
postKey({ body: { name: 5 } })
`,
  ],
  [
    'orval',
    ['zod'],
    `
import { introspectToken, logIn, postKey, revokeToken, signUp, verifyKey } from './orval-fetch'
import * as zod from './orval-zod'
const as = (token: string) => ({ headers: { Authorization: 'Bearer ' + token } })
const made = zod.SignUpResponse.parse((await signUp(credentials)).data)
const tokens = zod.LogInResponse.parse((await logIn(credentials)).data)
const asked = zod.PostKeyBody.parse({ name: 'generated', scopes: ['read'] })
const created = zod.PostKeyResponse.parse((await postKey(asked, as(tokens.access_token))).data)
const key: string = created.key
const verified = zod.VerifyKeyResponse.parse((await verifyKey({ key, scopes: ['read'] }, as(SERVICE_KEY))).data)
const found = zod.IntrospectTokenResponse.parse((await introspectToken({ token: key }, as(SERVICE_KEY))).data)
await revokeToken({ token: key })
const after = zod.VerifyKeyResponse.parse((await verifyKey({ key }, as(SERVICE_KEY))).data)
const refused = await logIn({ ...credentials, password: 'wrong' })
if (refused.status === 200) throw new Error('A wrong password')
tell(made.role, tokens.token_type, created.scopes, verified.code, found.token_kind, after.code, refused.data.code)
// @ts-expect-error a name is text
postKey({ name: 5 })
`,
  ],
]

const here = emptyDirectory()
let service: TestService
let serviceKey: string
beforeAll(async () => {
  service = await startService({ isIssuer: true })
  serviceKey = await verifierKey(service)
  const document = join(here.path, 'openapi.json')
  await Bun.write(document, JSON.stringify(await documentOf(service)))
  const generator = join(root, 'tests/support/generate-clients.ts')
  const generated = await runProgram([process.execPath, generator, document, here.path], {
    cwd: root,
    env: process.env,
  })
  if (generated.code !== 0) throw new Error(generated.out + generated.err)
})
afterAll(async () => {
  await service.stop()
  here[Symbol.dispose]()
})

test.each(PROGRAMS)(
  'the client that %s generates compiles strictly, signs up, logs in, and makes, verifies, introspects and revokes a key',
  async (name, modules, program) => {
    for (const module of modules) {
      const into = join(here.path, 'node_modules', module)
      mkdirSync(join(here.path, 'node_modules'), { recursive: true })
      symlinkSync(join(root, 'node_modules', module), into)
    }
    await Bun.write(join(here.path, `use-${name}.ts`), START + program)
    const compilerOptions = {
      module: 'esnext',
      moduleResolution: 'bundler',
      target: 'es2022',
      lib: ['es2023', 'dom', 'dom.iterable'],
      types: [],
      strict: true,
      noUncheckedIndexedAccess: true,
      noImplicitOverride: true,
      noEmit: true,
    }
    await Bun.write(
      join(here.path, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: [`use-${name}.ts`] }),
    )
    const run = (words: string[]) =>
      runProgram([process.execPath, ...words], {
        cwd: here.path,
        env: {
          ...process.env,
          SERVICE_KEY: serviceKey,
          BASE_URL: service.url,
          EMAIL: `${name}@example.com`,
        },
      })
    const compiled = await run([TSC, '-p', '.'])
    expect({ code: compiled.code, out: compiled.out }).toEqual({ code: 0, out: '' })
    const { code, out, err } = await run([`use-${name}.ts`])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(JSON.parse(out)).toEqual(SEEN)
  },
)
