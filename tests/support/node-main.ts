/** The program for Node: it starts the server that FRAMEWORK names. `client-package.ts` bundles it. */
import { createClient } from 'latchkey/client'
import { startExpress, startFastify } from './node-servers.ts'

const { LATCHKEY_URL = '', LATCHKEY_ISSUER = '', LATCHKEY_KEY, FRAMEWORK } = process.env
const client = createClient({ url: LATCHKEY_URL, issuer: LATCHKEY_ISSUER, key: LATCHKEY_KEY })
const server = await (FRAMEWORK === 'fastify' ? startFastify : startExpress)(client)
process.stdout.write(`Listening on ${server.url}\n`)
