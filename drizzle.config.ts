import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./src/db/schema.ts', './src/db/people.ts', './src/db/console.ts', './src/db/portal.ts'],
  out: './drizzle',
  schemaFilter: ['latchkey'],
})
