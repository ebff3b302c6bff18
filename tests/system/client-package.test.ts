import { expect, test } from 'bun:test'
import { join, resolve } from 'node:path'
import { runProgram } from '../support/binary.ts'
import { clientPackage, projectWith } from '../support/client-package.ts'

const TSC = join(resolve(import.meta.dir, '../..'), 'node_modules/typescript/bin/tsc')

const START = `
import { createClient, type KeyPrincipal, type UserPrincipal } from 'latchkey/client'
const client = createClient({ url: 'http://127.0.0.1:8000', key: 'sk_x' })
`

/** A program for each framework, with code that has to compile and code that must not. */
const PROGRAMS: [string, string[], string][] = [
  [
    'none',
    [],
    `const user: UserPrincipal | { kind: 'refused' } = await client.authenticate(new Request('http://localhost'), { kind: 'user' })
     // @ts-expect-error the answer may be a refusal
     user.userId
     // @ts-expect-error no such need
     client.authenticate(new Request('http://localhost'), { kind: 'user', scope: ['read'] })`,
  ],
  [
    'elysia',
    ['elysia', '@sinclair/typebox'],
    `import { Elysia } from 'elysia'
     import { latchkey } from 'latchkey/client/elysia'
     new Elysia().use(latchkey(client))
       .get('/', ({ principal }) => { const user: UserPrincipal = principal; return user.userId }, { user: true })
       // @ts-expect-error no such need
       .get('/', () => '', { key: { scope: ['read'] } })`,
  ],
  [
    'hono',
    ['hono'],
    `import { Hono } from 'hono'
     import { protect } from 'latchkey/client/hono'
     new Hono().get('/', protect(client, { kind: 'key' }), (c) => { const key: KeyPrincipal = c.get('principal'); return c.text(key.keyId) })
     // @ts-expect-error no such need
     protect(client, { kind: 'key', scope: ['read'] })`,
  ],
  [
    'express',
    ['express', '@types/express'],
    `import express from 'express'
     import { protect } from 'latchkey/client/express'
     express().get('/:name', protect(client, { kind: 'key' }), (request, response) => {
       const key: KeyPrincipal = response.locals.principal
       const name: string = request.params.name
       response.send(key.keyId + name)
     })
     // @ts-expect-error no such need
     protect(client, { kind: 'key', scope: ['read'] })`,
  ],
  [
    'fastify',
    ['fastify'],
    `import fastify from 'fastify'
     import { protect } from 'latchkey/client/fastify'
     fastify().get('/', { onRequest: protect(client, { kind: 'key' }) }, async ({ principal }) =>
       principal?.kind === 'key' ? principal.keyId : '')
     // @ts-expect-error no such need
     protect(client, { kind: 'key', scope: ['read'] })`,
  ],
  [
    'eden',
    ['elysia', '@elysiajs/eden', '@sinclair/typebox'],
    `import { management } from 'latchkey/client/management'
     const latchkey = management('http://127.0.0.1:8000', 'sk_x')
     const made = await latchkey.keys.create.post({ name: 'robot', scopes: 'read' })
     const key: string | undefined = made.data?.key
     // @ts-expect-error a name is text
     latchkey.keys.create.post({ name: 5 })
     // @ts-expect-error no such route
     latchkey.locks.get()`,
  ],
]

test.each(PROGRAMS)('the types of the package hold in a project that has %s', async (_, modules, program) => {
  using project = await projectWith(modules, {
    'main.ts': START + program,
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2022',
        lib: ['es2023', 'dom', 'dom.iterable'],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        // Elysia's own declarations fail in many strict projects.
        skipLibCheck: modules.includes('elysia'),
      },
      files: ['main.ts'],
    }),
  })
  const { code, out } = await runProgram([process.execPath, TSC, '-p', '.'], {
    cwd: project.path,
    env: process.env,
  })
  expect({ code, out }).toEqual({ code: 0, out: '' })
})

test('the package depends only on jose, and has no file of the service', async () => {
  const made = await clientPackage()
  const { dependencies, exports } = await Bun.file(join(made, 'package.json')).json()
  expect(Object.keys(dependencies)).toEqual(['jose'])
  for (const name of new Bun.Glob('*.{js,d.ts}').scanSync(made)) {
    expect(await Bun.file(join(made, name)).text()).not.toMatch(/from '\.\.|src\/|'node:|\bBun\.\w/)
  }
  // The clone has the same exports, for its own examples.
  const own = (await Bun.file(join(import.meta.dir, '../../package.json')).json()).exports
  expect(Object.keys(own)).toEqual(Object.keys(exports))
})
