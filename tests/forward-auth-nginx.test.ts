import { describeProxy } from './support/describe-proxy.ts'
import { startProxy } from './support/proxy.ts'

const NGINX = Bun.which('nginx')
const why = NGINX ? '' : ' (skipped: apt-get install nginx)'

/** What Debian's /etc/nginx/nginx.conf is to the recipe, with nothing outside of the test's own directory. */
const MAIN = `
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include latchkey.conf;
}
`

describeProxy(`deploy/nginx${why}`, !NGINX, (latchkey, app) =>
  startProxy(
    {
      program: 'nginx',
      directory: 'nginx',
      words: (directory) => ['-p', directory, '-c', `${directory}/nginx.conf`, '-e', 'stderr'],
      files: { 'nginx.conf': MAIN },
      listens: ['listen 80 ', (port) => `listen 127.0.0.1:${port} `],
    },
    latchkey,
    app,
  ),
)
