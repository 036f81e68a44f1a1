import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Spec } from './contestants/serve.ts';
import type { Endpoint } from './load/jobs.ts';
import { Adopted, freePort, launch, type Measured } from './processes.ts';
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
  readonly child: Measured | undefined;
  readonly to: Endpoint;
}

const PORTKEY = '@portkey-ai/gateway@1.15.2';

/** Everyone who can be compared, in the order of the tables. */
export const CONTESTANTS = {
  heimdall: (setting) => ours('heimdall', setting),
  turn: (setting) => ours('turn', setting, 'heimdall'),
  before: (setting) => ours('before', setting, 'heimdall'),
  hpm: (setting) => ours('hpm', setting),
  assembled: (setting) => ours('assembled', setting),
  pipe: (setting) => ours('pipe', setting),
  portkey,
  litellm,
  newapi,
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

/** @param file whose script starts it; `before` starts another checkout's gate as `heimdall` starts this one's, `turn` one with `audit.fingerprint: turn`. */
async function ours(name: string, { upstream, dir: parent, core, nodeFlags = [], refused, before }: Setting, file = name): Promise<Contestant> {
  const dir = join(parent, name);
  mkdirSync(dir, { recursive: true });
  const spec: Spec = { upstream, dir, ...(refused === undefined ? {} : { refused }), ...(name === 'turn' ? { fingerprint: 'turn' } : {}) };
  const entry = fileURLToPath(new URL(`./contestants/${file}.ts`, import.meta.url));
  const args = [...nodeFlags, '--disable-warning=ExperimentalWarning', entry, JSON.stringify(spec)];
  const env = name === 'before' && before !== undefined ? { HEIMDALL_BENCH_ENTRY: pathToFileURL(join(before, 'dist/index.js')).href } : {};
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

/** LiteLLM's proxy, where its command is installed: one worker, no database, no key. */
async function litellm({ upstream, dir, core }: Setting): Promise<Contestant> {
  const command = (process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'litellm')).find((path) => existsSync(path));
  if (command === undefined) throw new Error('litellm is not installed');
  const port = await freePort();
  const config = join(dir, 'litellm.yaml');
  writeFileSync(config, `model_list:
  - model_name: gpt-4o-mini
    litellm_params: { model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:${upstream}/v1", api_key: sk-bench }
`);
  const args = ['--config', config, '--port', String(port), '--host', '127.0.0.1', '--num_workers', '1'];
  const child = await launch({ name: 'litellm', command, args, env: { LITELLM_LOG: 'ERROR' }, dir, core, port, startLimit: 60_000 });
  return { name: 'litellm', child, to: { port, headers: {}, bytes: undefined } };
}

/**
 * A real NewAPI, where `NEWAPI_START` names a script: `SCRIPT PORT UPSTREAM` starts one and prints a line of JSON with its process
 * id as `pid`, its directory as `dir` and its users' keys as `tokens`.
 */
async function newapi({ upstream, core }: Setting): Promise<Contestant> {
  const script = process.env['NEWAPI_START'];
  if (script === undefined) throw new Error('NEWAPI_START names no script');
  const port = await freePort();
  const started = spawnSync(script, [String(port), `http://127.0.0.1:${upstream}`], { encoding: 'utf8', timeout: 60_000 });
  if (started.status !== 0) throw new Error(`NEWAPI_START ended with ${started.status}: ${started.stderr.slice(-200)}`);
  const { pid, dir, tokens } = JSON.parse(started.stdout.trim().split('\n').at(-1) as string) as { pid: number; dir: string; tokens: Record<string, string> };
  if (core !== undefined) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)]);
  const child = new Adopted('newapi', pid, () => rmSync(dir, { recursive: true, force: true }));
  // Its own limits and charges count the token; it writes its own answer.
  return { name: 'newapi', child, to: { port, headers: { authorization: `Bearer ${Object.values(tokens)[0]}` }, bytes: undefined } };
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
