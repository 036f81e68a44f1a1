import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporary } from '../../support/gate.ts';
import type { TestLike } from '../../support/client.ts';
import { runNginx, runProxy } from '../../support/nginx.ts';
import { freePort } from '../../support/ports.ts';

/** How an attacker reaches the gate. */
export const fronts = ['direct', 'nginx', 'haproxy', 'caddy'] as const;
export type Front = (typeof fronts)[number];

/** Starts a proxy in front of a port of this machine, as lenient as it can be, with pooled connections to it; ends with the scene. */
export async function startFront(t: TestLike, front: Front, to: number): Promise<number> {
  switch (front) {
    case 'direct':
      return to;
    case 'nginx':
      return nginx(t, to);
    case 'haproxy':
      return haproxy(t, to);
    case 'caddy':
      return caddy(t, to);
  }
}

async function nginx(t: TestLike, to: number): Promise<number> {
  const { port } = await runNginx(t, (own) => `
      map $http_upgrade $way { default upgrade; '' ''; }
      upstream gate { server 127.0.0.1:${to}; keepalive 2; }
      server {
        listen 127.0.0.1:${own}; large_client_header_buffers 8 64k; underscores_in_headers on; ignore_invalid_headers off; merge_slashes off;
        location / {
          proxy_pass http://gate; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 5s;
          proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $way;
        }
      }`);
  return port;
}

async function haproxy(t: TestLike, to: number): Promise<number> {
  const port = await freePort();
  const file = join(temporary(t), 'haproxy.cfg');
  writeFileSync(file, `
global
  maxconn 500
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout http-request 5s
  option http-keep-alive
  option accept-invalid-http-request
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend gate
backend gate
  server one 127.0.0.1:${to}
`);
  await runProxy(t, port, 'haproxy', ['-db', '-f', file]);
  return port;
}

async function caddy(t: TestLike, to: number): Promise<number> {
  const at = temporary(t);
  const port = await freePort();
  const file = join(at, 'Caddyfile');
  writeFileSync(file, `{\n\tadmin off\n\tauto_https off\n\tgrace_period 300ms\n}\n:${port} {\n\tbind 127.0.0.1\n\treverse_proxy 127.0.0.1:${to} {\n\t\tflush_interval -1\n\t}\n}\n`);
  await runProxy(t, port, 'caddy', ['run', '--config', file, '--adapter', 'caddyfile'], { ...process.env, HOME: join(at, 'home'), XDG_DATA_HOME: at, XDG_CONFIG_HOME: at });
  return port;
}
