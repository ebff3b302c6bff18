/** An MCP server of notes. People come through MCP clients, and CI with an API key. See README.md. */
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { createClient, type Principal, toResponse } from 'latchkey/client'
import { z } from 'zod'

const { LATCHKEY_URL = 'http://localhost:8000', LATCHKEY_KEY, PORT = '3001' } = process.env
const { RESOURCE = `http://127.0.0.1:${PORT}/mcp` } = process.env
const METADATA_PATH = `/.well-known/oauth-protected-resource${new URL(RESOURCE).pathname}`

// Asks Latchkey about every credential, and tells MCP clients where they get a token.
const latchkey = createClient({
  url: LATCHKEY_URL,
  key: LATCHKEY_KEY,
  resource: RESOURCE,
  onError: (error) => console.error(error),
})

const notes: { text: string; by: string }[] = []

/** The tools, for one caller. */
function toolsFor(caller: Principal): McpServer {
  const by = caller.kind === 'key' ? caller.owner.id : caller.userId
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  server.registerTool('list_notes', { description: 'Lists the notes' }, () => ({
    content: [{ type: 'text', text: JSON.stringify(notes) }],
  }))
  const inputSchema = { text: z.string().max(1000) }
  server.registerTool('add_note', { description: 'Adds a note', inputSchema }, ({ text }) => {
    notes.push({ text, by })
    return { content: [{ type: 'text', text: 'Added.' }] }
  })
  return server
}

/** What a request needs. A client that lacks a scope learns from the 403 for which one to ask the person. */
function scopesFor(body: unknown): string[] {
  const messages = [body].flat() as ({ method?: string; params?: { name?: string } } | null)[]
  const writes = messages.some((each) => each?.method === 'tools/call' && each.params?.name === 'add_note')
  return writes ? ['notes:read', 'notes:write'] : ['notes:read']
}

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(PORT),
  maxRequestBodySize: 100_000,
  async fetch(request, server) {
    const { pathname } = new URL(request.url)
    if (pathname === METADATA_PATH) return Response.json(await latchkey.metadata())
    if (pathname !== '/mcp') return new Response(null, { status: 404 })
    // A page of another site may have given its own name to this machine's address (MCP, "Transports": DNS rebinding).
    const origin = request.headers.get('origin')
    if (origin !== null && origin !== new URL(RESOURCE).origin) return new Response(null, { status: 403 })
    const parsedBody = await request.json().catch(() => null)
    const ip = server.requestIP(request)?.address
    const caller = await latchkey.authenticate(request, { scopes: scopesFor(parsedBody), ip })
    if (caller.kind === 'refused') return toResponse(caller)
    // Without sessions: each request is decided by its own credential.
    const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true })
    await toolsFor(caller).connect(transport)
    return transport.handleRequest(request, { parsedBody })
  },
})

console.log(`Listening on http://127.0.0.1:${server.port}`)
