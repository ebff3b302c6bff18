/**
 * The yardstick of /forward-auth: a route of Bun's own router that only answers 200: `bare-route.ts <path>`.
 */
const [path = '/'] = process.argv.slice(2)
const server = Bun.serve({ hostname: '127.0.0.1', port: 0, routes: { [path]: () => new Response(null) } })
process.stdout.write(`Listening on ${server.url}\n`)
