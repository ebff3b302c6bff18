import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./src/db/schema.ts', './src/db/people.ts'],
  out: './drizzle',
  schemaFilter: ['latchkey'],
})
