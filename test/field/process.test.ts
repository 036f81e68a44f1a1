import '../support/node.ts';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createServer as createTcp, type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { createServer, heimdall, type ConfigInput } from '../../lib/index.ts';
import { accessLine } from '../../lib/access-log/access-line.ts';
import { main } from '../../lib/cli/cli.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { memoryInUse } from '../../lib/telemetry/memory.ts';
import { readableLog } from '../../lib/telemetry/readable.ts';
import type { RawRecord } from '../../lib/record/record.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { closing, openStream, request, until, type TestLike } from '../support/client.ts';
import { recorder, startGate, temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { freePort } from '../support/ports.ts';
import { startProgram, type Program } from '../support/program.ts';
import { bare } from '../support/programs.ts';
import { nowhere } from '../support/upstream.ts';

/** Outputs of which nobody takes anything, as a collector that hangs leaves them. */
const outputs: Readonly<Record<string, (directory: string) => 'pipe' | number>> = {
  // Node's pipes to a child are sockets.
  socket: () => 'pipe',
  pipe: (directory) => {
    execFileSync('mkfifo', [join(directory, 'output')]);
    return openSync(join(directory, 'output'), 'r+');
  },
};

async function startStalled(t: TestLike, output: keyof typeof outputs, newapi: string): Promise<Program & { readonly url: string }> {
  const directory = temporary(t);
  const [port, to] = [await freePort(), outputs[output]?.(directory) ?? 'pipe'];
  const program = startProgram(t, process.execPath, [join(import.meta.dirname, '../../lib/cli.ts'), 'start'], {
    cwd: directory, env: { ...bare, NEWAPI_BASE_URL: newapi, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: String(port) }, stdio: ['ignore', to, to],
  });
  for (const stream of [program.child.stdout, program.child.stderr]) stream?.pause();
  if (typeof to === 'number') t.after(() => closeSync(to));
  const url = `http://127.0.0.1:${port}`;
  await program.does(() => request(`${url}/health`).then(({ status }) => status === 200, () => false), 'a gate that answers');
  return { ...program, url };
}

describe('a process whose output nobody reads', { skip: process.platform === 'win32' && 'no signals' }, () => {
  for (const output of Object.keys(outputs)) {
    it(`(${output}) serves on, outlives signals with a stream under way, and ends on SIGTERM, at once on a second`, async (t) => {
      const newapi = closing(t, await startNewapi({ chunks: 300, pace: 10 }));
      const { url, child, ended } = await startStalled(t, output, newapi.url);
      const path = `/${'long'.repeat(500)}`;
      for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 20 }, () => request(url + path)));
      const stream = await openStream(`${url}/v1/chat/completions`, { headers: { Authorization: `Bearer ${DEMO_KEY}` }, body: { model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'words' }] } });
      for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT'] as const) child.kill(signal);
      const seen = stream.chunks.length;
      await until(() => stream.chunks.length > seen + 3);
      assert.equal((await request(`${url}/health`)).status, 200);
      child.kill('SIGTERM');
      if (output === 'socket') await stream.done;
      else {
        // Signals that come together are one.
        await until(() => request(`${url}/health/ready`).then(({ status }) => status === 503, () => true));
        child.kill('SIGTERM');
      }
      assert.equal(await ended, output === 'socket' ? 0 : 1);
      assert.equal(stream.complete, output === 'socket');
    });
  }
});

/** What `/proc` and `/sys` say, and the share of memory in use. */
const machines: Readonly<Record<string, readonly [files: Readonly<Record<string, string>>, share: number]>> = {
  'cgroup v2 in a container': [{ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': '1000\n', 'sys/fs/cgroup/memory.current': '900\n', 'sys/fs/cgroup/memory.stat': 'anon 300\ninactive_file 600\nactive_file 0\n' }, 0.3],
  'cgroup v2 of a service': [{ 'proc/self/cgroup': '0::/system.slice/heimdall.service\n', 'sys/fs/cgroup/system.slice/heimdall.service/memory.max': '1000\n', 'sys/fs/cgroup/system.slice/heimdall.service/memory.current': '500\n', 'sys/fs/cgroup/system.slice/heimdall.service/memory.stat': 'inactive_file 100\n' }, 0.4],
  'cgroup v2 with a tighter limit above': [{ 'proc/self/cgroup': '0::/pod/box\n', 'sys/fs/cgroup/pod/memory.max': '1000', 'sys/fs/cgroup/pod/memory.current': '800', 'sys/fs/cgroup/pod/memory.stat': 'inactive_file 0\n', 'sys/fs/cgroup/pod/box/memory.max': 'max\n', 'sys/fs/cgroup/pod/box/memory.current': '10' }, 0.8],
  'cgroup v2 whose own path is outside': [{ 'proc/self/cgroup': '0::/../../box\n', 'sys/fs/cgroup/memory.max': '200', 'sys/fs/cgroup/memory.current': '100', 'sys/fs/cgroup/memory.stat': 'inactive_file 50\n' }, 0.25],
  'cgroup v2 without a limit': [{ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': 'max\n', 'sys/fs/cgroup/memory.current': '900', 'proc/meminfo': 'MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  600 kB\n' }, 0.4],
  'cgroup v1': [{ 'proc/self/cgroup': '12:pids:/docker/a\n4:cpu,memory:/docker/a\n1:name=systemd:/\n', 'sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes': '1000', 'sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes': '950', 'sys/fs/cgroup/memory/docker/a/memory.stat': 'inactive_file 1\ntotal_inactive_file 450\n' }, 0.5],
  'cgroup v1 seen from within': [{ 'proc/self/cgroup': '4:memory:/docker/a\n', 'sys/fs/cgroup/memory/memory.limit_in_bytes': '1000', 'sys/fs/cgroup/memory/memory.usage_in_bytes': '700', 'sys/fs/cgroup/memory/memory.stat': 'total_inactive_file 100\n' }, 0.6],
  'cgroup v1 without a limit': [{ 'proc/self/cgroup': '4:memory:/\n', 'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712', 'sys/fs/cgroup/memory/memory.usage_in_bytes': '700', 'proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 250 kB\n' }, 0.75],
  'no cgroup at all': [{ 'proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 900 kB\n' }, 0.1],
  'files that say nothing': [{ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': '', 'sys/fs/cgroup/memory.current': 'x', 'proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 100 kB\n' }, 0.9],
};

describe('memory in use', () => {
  for (const [name, [files, share]] of Object.entries(machines)) {
    it(`is ${share} of what ${name} has`, (t) => {
      const root = temporary(t as unknown as TestLike);
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
      assert.ok(Math.abs(memoryInUse(root) - share) < 1e-9, String(memoryInUse(root)));
    });
  }
});

async function health(t: TestLike, yaml: string, ...more: readonly string[]): Promise<string> {
  const file = join(temporary(t), 'heimdall.yaml');
  writeFileSync(file, yaml, { mode: 0o600 });
  let said = '';
  const code = await main(['health', '--config', file, ...more], { out: (text) => void (said += text), err: (text) => void (said += text) });
  return `${code} ${said.trimEnd()}`;
}

describe('heimdall health', () => {
  it('asks at the address, port, scheme and path of the configuration', async (t) => {
    const gates: Readonly<Record<string, ConfigInput>> = { plain: {}, renamed: { endpoints: { health: '/alive' } }, off: { endpoints: { health: false } }, denied: { guard: { deny: ['127.0.0.1'] } } };
    for (const [name, config] of Object.entries(gates)) {
      const { port, gate } = await startGate(t, { newapi: { baseUrl: await nowhere() }, ...config });
      const path = name === 'renamed' ? '/alive' : name === 'off' ? '' : '/health';
      const yaml = `server: { host: 0.0.0.0, port: ${port} }\nendpoints: { health: ${name === 'off' ? 'false' : path} }\n`;
      assert.equal(await health(t, yaml), `0 http://127.0.0.1:${port}${path}: well`, name);
      if (name !== 'plain') continue;
      internalsOf(gate).core.draining = true;
      assert.equal(await health(t, yaml, '--ready'), `1 http://127.0.0.1:${port}/health/ready: answered 503`);
    }
    assert.match(await health(t, 'server: { host: 127.0.0.1, port: 1 }\n'), /^1 http:\/\/127\.0\.0\.1:1\/health: ECONNREFUSED$/);
  });

  it('speaks TLS where the gate does, whatever name its certificate has', { skip: noOpenssl }, async (t) => {
    const { certPath, keyPath } = authority(t).issue('DNS:gate.test');
    for (const serverName of [null, 'gate.test']) {
      const { port } = await startGate(t, { server: { tls: { certPath, keyPath, serverName } } });
      const tls = `{ cert_path: '${certPath}', key_path: '${keyPath}'${serverName === null ? '' : `, server_name: ${serverName}`} }`;
      assert.equal(await health(t, `server: { host: 127.0.0.1, port: ${port}, tls: ${tls} }\n`), `0 https://127.0.0.1:${port}/health: well`);
    }
  });
});

describe('heimdall health, at an address of another kind', () => {
  it('begins with a preamble where the gate expects one of this machine', async (t) => {
    for (const trust of [['loopback'], ['203.0.113.1']]) {
      const { port } = await startGate(t, { trustProxy: trust, server: { proxyProtocol: true } });
      assert.equal(await health(t, `trust_proxy: [${trust}]\nserver: { host: 127.0.0.1, port: ${port}, proxy_protocol: true }\n`), `0 http://127.0.0.1:${port}/health: well`, String(trust));
    }
  });

  it('does so before TLS, and over a Unix socket', { skip: noOpenssl }, async (t) => {
    const { certPath, keyPath } = authority(t).issue('DNS:gate.test');
    const { port } = await startGate(t, { trustProxy: ['loopback'], server: { proxyProtocol: true, tls: { certPath, keyPath } } });
    assert.equal(await health(t, `trust_proxy: [loopback]\nserver: { host: 127.0.0.1, port: ${port}, proxy_protocol: true, tls: { cert_path: '${certPath}', key_path: '${keyPath}' } }\n`), `0 https://127.0.0.1:${port}/health: well`);
    const path = join(temporary(t), 'heimdall.sock');
    const gate = heimdall({ trustProxy: ['unix'], server: { proxyProtocol: true }, audit: { path: join(temporary(t), 'heimdall.db') } }, { log: recorder() });
    t.after(() => gate.close());
    const server = createServer(gate);
    await once(server.listen(path), 'listening');
    assert.equal(await health(t, `trust_proxy: [unix]\nserver: { host: '${path}', proxy_protocol: true }\n`), `0 unix:${path}/health: well`);
  });

  it('gives up on a gate that says nothing, and on one that is gone', async (t) => {
    const silent = createTcp();
    t.after(() => silent.close());
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const { port } = silent.address() as AddressInfo;
    silent.once('connection', (socket) => socket.destroy());
    assert.match(await health(t, `server: { host: 127.0.0.1, port: ${port} }\n`), /^1 http:.*: ECONNRESET$/);
    assert.match(await health(t, `server: { host: '${join(temporary(t), 'none.sock')}' }\n`), /^1 unix:.*: ENOENT$/);
  });
});

describe('on a terminal', () => {
  it('an event is one readable line, at the level that is asked for', () => {
    const lines: string[] = [];
    const log = readableLog('info', { isTerminal: true, write: (line) => lines.push(String(line)) > 0 });
    log.debug({}, 'not.shown');
    log.warn({ target: 'newapi', reason: 'it did not answer', tries: 3, error: { name: 'Error', message: 'two\nlines' } }, 'target.open');
    assert.equal(lines.length, 1);
    assert.match((lines[0] ?? '').replaceAll('\u001b', '~'), /^\d\d:\d\d:\d\d\.\d{3} ~\[33mWARN ~\[0m target\.open target=newapi reason="it did not answer" tries=3 error=\{"name":"Error","message":"two\\nlines"\}\n$/);
  });

  it('an access line is short, and masked as everywhere', () => {
    const raw = {
      id: 'x', time: Date.UTC(2026, 0, 5, 12, 30), method: 'POST', url: '/v1/chat/completions?key=sk-0123456789abcdef0123456789abcdef', status: 200, duration: 123.4, outcome: 'served', model: 'gpt-4o', target: 'newapi', prompt: 10, completion: 20,
      key: null, tokenId: '0123456789abcdef', ip: '192.0.2.1', headers: [],
    } as unknown as RawRecord;
    assert.equal(accessLine('readable', [], [])(raw), '12:30:00.000 \u001b[32m200\u001b[0m POST /v1/chat/completions?key 123 ms served gpt-4o at newapi 10+20 tokens 0123456789abcdef 192.0.2.1');
  });
});
