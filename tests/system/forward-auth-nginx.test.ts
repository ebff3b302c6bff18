import { describeProxy } from '../support/describe-proxy.ts'
import { NGINX, nginxAround, startProxy } from '../support/proxy.ts'

const why = NGINX ? '' : ' (skipped: apt-get install nginx)'

describeProxy(`deploy/nginx${why}`, !NGINX, (latchkey, app) =>
  startProxy(
    {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('latchkey.conf') },
      changes: [['listen 80 ', (port) => `listen 127.0.0.1:${port} `]],
    },
    latchkey,
    app,
  ),
)
