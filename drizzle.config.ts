import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: [
    'schema',
    'people',
    'console',
    'portal',
    'oauth',
    'authorization',
    'users',
    'regions',
    'columns',
  ].map((file) => `./src/db/${file}.ts`),
  out: './drizzle',
  schemaFilter: ['latchkey'],
})
