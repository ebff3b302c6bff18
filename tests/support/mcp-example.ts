import { resolve } from 'node:path'
import { type RunningProgram, startProgram } from './binary.ts'
import { verifierKey } from './latchkey-client.ts'
import { registerResource } from './registered-apps.ts'
import type { TestService } from './service.ts'

/**
 * Registers the MCP server of the examples as a resource, and starts it behind a service.
 * @param resource where clients reach it, if that is not where it listens
 */
export async function startMcpExample(
  service: TestService,
  admin: string,
  port: number,
  resource = `http://127.0.0.1:${port}/mcp`,
): Promise<RunningProgram> {
  await registerResource(service, admin, {
    identifier: resource,
    name: 'Notes',
    scopes: [
      { name: 'notes:read', description: 'Read the notes' },
      { name: 'notes:write', description: 'Add notes' },
    ],
  })
  return await startProgram([process.execPath, 'examples/mcp-server/server.ts'], {
    cwd: resolve(import.meta.dir, '../..'),
    env: {
      LATCHKEY_URL: service.url,
      LATCHKEY_KEY: await verifierKey(service),
      PORT: String(port),
      RESOURCE: resource,
    },
  })
}
