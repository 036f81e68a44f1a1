import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TestLike } from './client.ts';
import { temporary } from './gate.ts';
import { freePort } from './ports.ts';
import { startProgram } from './program.ts';

/** Why nginx cannot be used, for a test's `skip`; false where it can. In CI it must be there. */
export const noNginx: string | false = spawnSync('nginx', ['-v']).status === 0 || process.env.CI ? false : 'nginx is not installed';

/** An nginx of the machine. */
export interface Nginx {
  readonly port: number;
}

/**
 * Starts nginx as a child process on a free port of 127.0.0.1; ends with the test.
 * @param to port of 127.0.0.1 it passes everything on to, from `from`.
 * @param lines directives of its one location, beside `proxy_pass`.
 */
export function startNginx(t: TestLike, to: number, lines: readonly string[], from = '127.0.0.1'): Promise<Nginx> {
  return runNginx(t, (port) => `
      server {
        listen 127.0.0.1:${port}; large_client_header_buffers 4 64k; underscores_in_headers on; ignore_invalid_headers off;
        location / { proxy_pass http://127.0.0.1:${to}; proxy_bind ${from}; proxy_http_version 1.1; ${lines.map((line) => `${line};`).join(' ')} }
      }`);
}

/** @param servers what stands in its `http` block, for a port it is to listen on. */
export async function runNginx(t: TestLike, servers: (port: number) => string): Promise<Nginx> {
  const at = temporary(t);
  const port = await freePort();
  const temporaries = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${join(at, name)};`).join(' ');
  const configuration = `
    master_process off; daemon off; pid ${join(at, 'pid')}; error_log stderr crit;
    events { worker_connections 256; }
    http {
      access_log off; ${temporaries}
      ${servers(port)}
    }`;
  const file = join(at, 'nginx.conf');
  writeFileSync(file, configuration);
  await runProxy(t, port, 'nginx', ['-p', at, '-c', file]);
  return { port };
}

/** Runs a proxy until the test ends, and waits until it listens. */
export async function runProxy(t: TestLike, port: number, program: string, args: readonly string[], env = process.env): Promise<void> {
  const { child, ended, does } = startProgram(t, program, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  await does(() => isOpen(port), `${program} to listen`);
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const open = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false);
  socket.destroy();
  return open;
}
