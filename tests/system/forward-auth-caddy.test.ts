import { describeProxy } from '../support/describe-proxy.ts'
import { CADDY, startProxy } from '../support/proxy.ts'

const why = CADDY ? '' : ' (skipped: apt-get install caddy)'

describeProxy(`deploy/caddy${why}`, !CADDY, (latchkey, app) =>
  startProxy(
    {
      program: 'caddy',
      config: 'Caddyfile',
      // Only one Caddy on a machine can use the admin port.
      changes: [
        ['\n:80 {', (port) => `\n{\n\tadmin off\n\tauto_https off\n}\nhttp://:${port} {\n\tbind 127.0.0.1`],
      ],
    },
    latchkey,
    app,
  ),
)
