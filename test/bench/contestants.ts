import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Spec } from './contestants/serve.ts';
import type { Endpoint } from './load/jobs.ts';
import { freePort, launch, type Child } from './processes.ts';
import { CHAT_ANSWER } from './wire.ts';

/** What a contestant needs to start. */
export interface Setting {
  readonly upstream: number;
  readonly dir: string;
  readonly core: number | undefined;
  /** For Node's own flags, `--cpu-prof` for one. */
  readonly nodeFlags?: readonly string[];
  readonly refused?: number;
  /** Another checkout of this repository. */
  readonly before?: string | undefined;
}

/** A running contestant. `direct` has no process. */
export interface Contestant {
  readonly name: string;
  readonly child: Child | undefined;
  readonly to: Endpoint;
}

const PORTKEY = '@portkey-ai/gateway@1.15.2';

/** Everyone who can be compared, in the order of the tables. */
export const CONTESTANTS = {
  heimdall: (setting) => ours('heimdall', setting),
  before: (setting) => ours('before', setting, 'heimdall'),
  hpm: (setting) => ours('hpm', setting),
  assembled: (setting) => ours('assembled', setting),
  pipe: (setting) => ours('pipe', setting),
  portkey,
  nginx,
  direct: async ({ upstream }) => ({ name: 'direct', child: undefined, to: endpoint(upstream) }),
} as const satisfies Record<string, (setting: Setting) => Promise<Contestant>>;

/** The name of a contestant. */
export type Name = keyof typeof CONTESTANTS;

/** Narrows text to a contestant's name. */
export function isName(text: string): text is Name {
  return Object.hasOwn(CONTESTANTS, text);
}

function endpoint(port: number): Endpoint {
  return { port, headers: {}, bytes: CHAT_ANSWER.length };
}

/** @param file whose script starts it; `before` starts another checkout's gate as `heimdall` starts this one's. */
async function ours(name: string, { upstream, dir: parent, core, nodeFlags = [], refused, before }: Setting, file = name): Promise<Contestant> {
  const dir = join(parent, name);
  mkdirSync(dir, { recursive: true });
  const spec: Spec = { upstream, dir, ...(refused === undefined ? {} : { refused }) };
  const entry = fileURLToPath(new URL(`./contestants/${file}.ts`, import.meta.url));
  const args = [...nodeFlags, '--disable-warning=ExperimentalWarning', entry, JSON.stringify(spec)];
  const env = name === 'before' && before !== undefined ? { HEIMDALL_BENCH_ENTRY: pathToFileURL(join(before, 'lib/index.ts')).href } : {};
  const child = await launch({ name, command: process.execPath, args, dir, core, env });
  return { name, child, to: endpoint(child.port) };
}

/** Portkey's published gateway, installed beside the project on first use and kept for the next run. */
async function portkey({ upstream, dir, core }: Setting): Promise<Contestant> {
  const home = join(os.tmpdir(), 'heimdall-bench-portkey-1.15.2');
  const script = join(home, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  if (!existsSync(script)) await install(home);
  const port = await freePort();
  const child = await launch({
    name: 'portkey',
    command: process.execPath,
    args: [script, `--port=${port}`, '--headless'],
    // It refuses upstreams on private addresses that are not named here.
    env: { TRUSTED_CUSTOM_HOSTS: '127.0.0.1' },
    dir,
    core,
    port,
  });
  const headers = { 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `http://127.0.0.1:${upstream}/v1` };
  // It parses the answer and writes its own, so its length is learnt instead of known.
  return { name: 'portkey', child, to: { port, headers, bytes: undefined } };
}

function install(home: string): Promise<void> {
  mkdirSync(home, { recursive: true });
  return new Promise((resolve, reject) => {
    const args = ['install', '--prefix', home, PORTKEY, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
    const npm = spawn('npm', args, { stdio: 'ignore', timeout: 90_000 });
    npm.on('error', reject);
    npm.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`npm could not install ${PORTKEY}`))));
  });
}

/** nginx with one worker and a keep-alive pool: what a proxy without JavaScript costs. */
async function nginx({ upstream, dir, core }: Setting): Promise<Contestant> {
  const folders = ['/usr/sbin', '/usr/local/sbin', ...(process.env['PATH'] ?? '').split(':')];
  const command = folders.map((folder) => join(folder, 'nginx')).find((path) => existsSync(path));
  if (command === undefined) throw new Error('nginx is not installed');
  const port = await freePort();
  const prefix = join(dir, 'nginx');
  mkdirSync(prefix, { recursive: true });
  writeFileSync(join(prefix, 'nginx.conf'), nginxConfig(prefix, port, upstream));
  const args = ['-p', prefix, '-e', 'error.log', '-c', 'nginx.conf'];
  const child = await launch({ name: 'nginx', command, args, dir, core, port });
  return { name: 'nginx', child, to: endpoint(port) };
}

/** `master_process off`: one process, whose pid is the one we measure and end. */
function nginxConfig(prefix: string, port: number, upstream: number): string {
  const buffers = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `  ${kind}_temp_path ${prefix}/${kind};`);
  return `daemon off;
master_process off;
pid ${prefix}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
${buffers.join('\n')}
  upstream api { server 127.0.0.1:${upstream}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_buffering off;
    }
  }
}
`;
}
