import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer as createUpstream, request } from 'node:http';
import { Session } from 'node:inspector/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What one warm chat passes on the main thread. */
export interface Hops {
  /** Paths from the root, each with the functions called in it. */
  readonly files: ReadonlyMap<string, readonly string[]>;
  readonly functions: number;
}

const root = new URL('../../', import.meta.url);
const warmUps = 20;
const measured = 100;
const reply = JSON.stringify({
  id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt-4o-mini',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello!' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
});
const question = JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] });

/**
 * Counts by V8's precise coverage which files and functions of `lib/` one warm chat calls, with limits, queue, journal,
 * metrics and access log on. Of a hundred requests the one with the fewest functions counts: timers of the gate and messages of the
 * journal's thread run during the others, on a busy machine during most.
 * @param isEnough ends the measurement with the first request of which it is true.
 */
export async function measureHops(isEnough: (hops: Hops) => boolean = () => false): Promise<Hops> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-hops-'));
  const upstream = createUpstream((req, res) => {
    req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': reply.length }).end(reply));
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const session = new Session();
  session.connect();
  // Before the gate is imported: functions compiled earlier are not counted.
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  const { createServer, heimdall } = await import('../../lib/index.ts');
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const gate = heimdall(everythingOn(dir, (upstream.address() as AddressInfo).port));
  const server = createServer(gate);
  try {
    await gate.ready;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (let at = 0; at < warmUps; at++) await chat(port, agent);
    const found: Hops[] = [];
    for (let at = 0; at < measured; at++) {
      await session.post('Profiler.takePreciseCoverage');
      await chat(port, agent);
      await new Promise(setImmediate);
      const { result } = await session.post('Profiler.takePreciseCoverage');
      const hops = hopsOf(result);
      found.push(hops);
      if (isEnough(hops)) break;
    }
    return found.sort((a, b) => a.functions - b.functions)[0] as Hops;
  } finally {
    session.disconnect();
    agent.destroy();
    await gate.close({ timeout: 0 });
    upstream.close();
    upstream.closeAllConnections();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Prints the path of every file, its functions and the two totals. */
export function describeHops({ files, functions }: Hops): string {
  const lines = [...files].sort(([a], [b]) => a.localeCompare(b)).map(([path, names]) => `  ${path}: ${names.join(', ')}`);
  return `One warm chat passes\n${lines.join('\n')}\n\n${files.size} files, ${functions} functions`;
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly { readonly functionName: string; readonly ranges: readonly { readonly startOffset: number; readonly count: number }[] }[];
}

function hopsOf(scripts: readonly ScriptCoverage[]): Hops {
  const lib = new URL('lib/', root).href;
  const files = new Map<string, string[]>();
  for (const { url, functions } of scripts) {
    if (!url.startsWith(lib)) continue;
    const called = functions.filter(({ ranges: [whole] }) => whole !== undefined && whole.count > 0).map(({ functionName }) => functionName || '(anonymous)');
    if (called.length > 0) files.set(fileURLToPath(url).slice(fileURLToPath(root).length), called);
  }
  return { files, functions: [...files.values()].reduce((sum, names) => sum + names.length, 0) };
}

function everythingOn(dir: string, upstream: number): object {
  return {
    newapi: { baseUrl: `http://127.0.0.1:${upstream}` },
    server: { host: '127.0.0.1', port: 0 },
    queue: { statePath: join(dir, 'queue.json') },
    llm: { healthCheck: { enabled: false } },
    rateLimit: {
      address: { limit: 1000, window: '60s' },
      key: { requests: { limit: 1_000_000, window: '60s' }, tokens: { limit: 1_000_000_000, window: '60s' }, concurrency: 100 },
    },
    logging: { file: join(dir, 'heimdall.log'), level: 'error' },
    audit: { path: join(dir, 'heimdall.db') },
    metrics: { token: 'hops-metrics-token-0123456789abcdef0123' },
  };
}

function chat(port: number, agent: Agent): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const headers = { 'Content-Type': 'application/json', 'Content-Length': question.length, Authorization: 'Bearer sk-hops0123456789abcdefghijklmnopqrstuvwxyz012345', 'User-Agent': 'OpenAI/JS 7.57.0', Accept: 'application/json' };
  const asked = request({ host: '127.0.0.1', port, method: 'POST', path: '/v1/chat/completions', agent, headers }, (res) => {
    if (res.statusCode !== 200) reject(new Error(`the gate answered ${res.statusCode}`));
    res.resume().once('close', resolve);
  });
  asked.once('error', reject).end(question);
  return promise;
}
