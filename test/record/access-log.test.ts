import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/context.ts';
import type { Core } from '../../lib/core.ts';
import { accessLog, type AccessLog } from '../../lib/record/access-log.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import type { LoggingInput } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, temporary, type Recorder } from '../support/gate.ts';

interface Opened {
  readonly core: Core;
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly lines: AccessLog;
  readonly console: PassThrough;
  /** What the console was given, so far. */
  said(): string;
}

function open(logging: LoggingInput = {}): Opened {
  const config = resolveConfig({ logging: { file: false, ...logging } }, {});
  const clock = fakeClock();
  const log = recorder();
  const core = { config, clock, log } as unknown as Core;
  const console = new PassThrough();
  const chunks: Buffer[] = [];
  console.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { core, clock, log, console, lines: accessLog(core, console), said: () => Buffer.concat(chunks).toString() };
}

type Over = Partial<Omit<Context, 'req'>> & { readonly url?: string; readonly method?: string; readonly headers?: Readonly<Record<string, string>> };

/** A request that is over. */
function finished(core: Core, { url = '/v1/chat/completions', method = 'POST', headers = {}, ...rest }: Over = {}): Context {
  const fixed = {
    core, id: '01890a5d-ac96-774b-bcce-b302099a8057', time: Date.UTC(2026, 0, 5, 7, 8, 9, 12), ip: '203.0.113.9', status: 200, duration: 12.34, headAt: 10, bytesIn: 5, bytesOut: 7, outcome: 'served', errorCode: null,
    usage: null, cost: null, rules: null, route: routeOf('POST', '/v1/chat/completions'), model: 'gpt-4o', stream: false, target: 'newapi', attempts: 1, token: { id: '0123456789abcdef', mask: '', former: [] }, key: null, device: 'd'.repeat(64), upstreamRequestId: null,
  };
  return { ...fixed, req: { url, method, headers, httpVersion: '1.1' }, ...rest } as unknown as Context;
}

const hostile = ['"', '\\', '"}\n{"a":"', '\u0000\u0007\u001b[31m', '\x7f\x80\x9f', 'é鍵\u{1f511}', '\ud800', '%s%d%j', ':method :url', '${jndi:ldap://x}', '<script>', '\r\nHTTP/1.1 200 OK', "' or 1=1 --", 'x'.repeat(100_000), ''];

/** The lines, each a JSON object. */
const records = (text: string): Record<string, unknown>[] => text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>);

async function said(opened: Opened): Promise<string> {
  opened.clock.tick(50);
  return until(() => opened.said());
}

describe('the JSON line', () => {
  it('tells who asked for what and what became of it', async () => {
    const opened = open();
    opened.lines.write(finished(opened.core, { headers: { 'user-agent': 'curl/8.5.0' } }));
    opened.lines.write(finished(opened.core, { outcome: 'refused', errorCode: 'missing_credential', status: 401, token: null, headAt: null, model: null, rules: ['auth'] }));
    const [first, second] = records(await said(opened));
    assert.deepEqual(first, {
      time: '2026-01-05T07:08:09.012Z', id: '01890a5d-ac96-774b-bcce-b302099a8057', ip: '203.0.113.9', method: 'POST', path: '/v1/chat/completions', status: 200, duration: 12.3, first_byte: 10, bytes_in: 5, bytes_out: 7,
      outcome: 'served', would_refuse: [], route: '/v1/chat/completions', model: 'gpt-4o', stream: false, target: 'newapi', attempts: 1,
      usage: null, cost: null, token: '0123456789abcdef', key: null, device: 'd'.repeat(64), user_agent: 'curl/8.5.0', upstream_request_id: null,
    });
    assert.deepEqual([second?.['outcome'], second?.['token'], second?.['first_byte'], second?.['model'], second?.['would_refuse']], ['refused:missing_credential', null, null, null, ['auth']]);
  });

  it('stays one line of valid JSON whatever a caller or an upstream writes', async () => {
    const opened = open();
    for (const text of hostile) {
      opened.lines.write(finished(opened.core, { url: `/${text}?${text}=${text}`, method: text, model: text, target: text, key: text, upstreamRequestId: text, headers: { 'user-agent': text } }));
    }
    const found = records(await said(opened));
    assert.equal(found.length, hostile.length);
    for (const [at, text] of hostile.entries()) assert.ok(text.startsWith(String(found[at]?.['model'])), JSON.stringify(found[at]));
  });

  it('is bounded, and so are many of them', async () => {
    const opened = open();
    const text = '\u0000'.repeat(1_000_000);
    for (let n = 0; n < 50; n++) opened.lines.write(finished(opened.core, { url: `/${text}`, model: text, upstreamRequestId: text, headers: { 'user-agent': text } }));
    const found = records(await said(opened));
    assert.equal(found.length, 50);
    assert.ok(JSON.stringify(found[0]).length < 65_536, `${JSON.stringify(found[0]).length}`);
  });

  it('says the time of every request to the millisecond', async () => {
    const opened = open();
    const times = [0, 1, 999, 1000, 1001, 1_700_000_000_000, 1_700_000_000_001, 999].map((time) => ({ time }));
    for (const { time } of times) opened.lines.write(finished(opened.core, { time }));
    assert.deepEqual(records(await said(opened)).map(({ time }) => time), times.map(({ time }) => new Date(time).toISOString()));
  });
});

describe('the path in a line', () => {
  const shown = async (url: string, queryAllow: readonly string[] = [], over: Over = {}): Promise<unknown> => {
    const opened = open({ queryAllow });
    opened.lines.write(finished(opened.core, { url, ...over }));
    return records(await said(opened))[0]?.['path'];
  };

  it('keeps the names of the query and no value', async () => {
    assert.equal(await shown('/v1beta/models?key=secret&alt=sse'), '/v1beta/models?key&alt');
    for (const url of ['/?key=secret', '/?a&key=secret', '/?key=a=secret', '/?KEY=secret&', '/?key=secret#x', '/?k%65y=secret', '/??key=secret', '/?&&key=secret', '/?a;key=secret', `/?${'a=secret&'.repeat(500)}`]) {
      const path = String(await shown(url));
      assert.ok(!path.includes('secret') && path.startsWith('/?'), path);
    }
  });

  it('keeps the values that are allowed, by exact name', async () => {
    assert.equal(await shown('/?page=2&key=secret&page=3&pages=4', ['page']), '/?page=2&key&page=3&pages');
    assert.equal(await shown('/?__proto__=1&constructor=2', ['page']), '/?__proto__&constructor');
  });

  it('is the whole path below a mount', async () => {
    assert.equal(await shown('/rest', [], { req: { url: '/rest?key=secret', originalUrl: '/llm/rest?key=secret', method: 'GET', headers: {} } } as unknown as Over), '/llm/rest?key');
  });

  it('shows no one\'s password', async () => {
    for (const url of ['http://user:secret@gate.test/v1/models', 'HTTPS://secret@gate.test/?key=secret', 'http://a:secret@b@gate.test/', 'user:secret@gate.test']) assert.ok(!String(await shown(url)).includes('secret'), String(await shown(url)));
  });
});

describe('the combined line', () => {
  it('is the one every log reader knows', async () => {
    const opened = open({ format: 'combined' });
    opened.lines.write(finished(opened.core, { headers: { 'user-agent': 'curl/8.5.0', referer: 'https://a.test/x?secret#secret' }, url: '/a?key=secret' }));
    opened.lines.write(finished(opened.core, { token: null, url: '/', method: 'GET', bytesOut: 0 }));
    assert.deepEqual((await said(opened)).split('\n'), [
      '203.0.113.9 - 0123456789abcdef [05/Jan/2026:07:08:09 +0000] "POST /a?key HTTP/1.1" 200 7 "https://a.test/x" "curl/8.5.0"',
      '203.0.113.9 - - [05/Jan/2026:07:08:09 +0000] "GET / HTTP/1.1" 200 0 "-" "-"',
      '',
    ]);
  });

  it('stays one harmless line whatever a caller writes', async () => {
    const opened = open({ format: 'combined' });
    for (const text of hostile) opened.lines.write(finished(opened.core, { url: `/${text}`, method: text, key: text.slice(0, 64), headers: { 'user-agent': text, referer: text } }));
    const lines = (await said(opened)).split('\n').slice(0, -1);
    assert.equal(lines.length, hostile.length);
    for (const line of lines) {
      assert.match(line, /^203\.0\.113\.9 - [^ ]+ \[05\/Jan\/2026:07:08:09 \+0000\] "[\x20-\x7e]* HTTP\/1\.1" 200 7 "[^"]*" "[^"]*"$/);
      assert.match(line, /^[\x20-\x7e]{1,20000}$/);
    }
  });
});

/** The texts of a directory's files, one of which may be renamed just now. */
function contents(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => readFileSync(join(directory, name), 'utf8'));
  } catch {
    return [];
  }
}

describe('the file', () => {
  const at = (t: TestContext): string => join(temporary(t), 'logs', 'access.log');

  it('belongs to its owner alone, and is opened by the first line', async (t) => {
    const file = at(t);
    const { core, clock, lines } = open({ file });
    clock.tick(1000);
    assert.equal(existsSync(file), false);
    lines.write(finished(core));
    await lines.close();
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(records(readFileSync(file, 'utf8')).length, 1);
  });

  it('is written some fifty milliseconds at a time, and whole when the gate closes', async (t) => {
    const file = at(t);
    const { core, clock, lines, said: seen } = open({ file });
    for (let n = 0; n < 10; n++) lines.write(finished(core));
    clock.tick(49);
    assert.equal(seen(), '');
    assert.equal(clock.pending, 1);
    clock.tick(1);
    await until(() => seen().split('\n').length === 11);
    lines.write(finished(core));
    await lines.close();
    assert.equal(records(readFileSync(file, 'utf8')).length, 11);
    await lines.close();
    assert.equal(clock.pending, 0);
  });

  it('is added to by the next start', async (t) => {
    const file = at(t);
    for (let start = 0; start < 3; start++) {
      const { core, lines } = open({ file });
      lines.write(finished(core));
      await lines.close();
    }
    assert.equal(records(readFileSync(file, 'utf8')).length, 3);
  });

  it('is rotated at its size, keeping as many as configured, all for their owner alone', async (t) => {
    const file = at(t);
    const { core, clock, lines } = open({ file, maxSize: '2KB', maxFiles: 2 });
    const directory = join(file, '..');
    for (let round = 1; round <= 12; round++) {
      for (let n = 0; n < 4; n++) lines.write(finished(core, { model: `round ${round}` }));
      clock.tick(50);
      await until(() => contents(directory).some((text) => text.includes(`"round ${round}"`)), 4000);
    }
    await lines.close();
    const logs = readdirSync(directory).filter((name) => name.endsWith('.log'));
    assert.ok(logs.length >= 2 && logs.length <= 4, logs.join());
    for (const name of logs) assert.equal(statSync(join(directory, name)).mode & 0o077, 0, name);
    for (const name of logs) for (const line of records(readFileSync(join(directory, name), 'utf8'))) assert.match(String(line['model']), /^round \d+$/);
  });

  it('that cannot be written stops nothing, and is reported once', async (t) => {
    const directory = temporary(t);
    const inTheWay = join(temporary(t), 'file');
    writeFileSync(inTheWay, '');
    for (const file of [directory, join(inTheWay, 'access.log')]) {
      const { core, clock, lines, log, said: seen } = open({ file });
      for (let n = 0; n < 5; n++) {
        lines.write(finished(core));
        clock.tick(50);
        await until(() => seen().split('\n').length === n + 2);
      }
      await until(() => log.named('access_log.failed').length > 0);
      await lines.close();
      assert.equal(log.named('access_log.failed').length, 1, file);
      assert.equal(log.named('access_log.failed')[0]?.['sink'], file);
    }
  });

  it('may vanish under the gate', { skip: process.platform === 'win32' }, async (t) => {
    const directory = join(temporary(t), 'logs');
    mkdirSync(directory);
    chmodSync(directory, 0o700);
    const { core, clock, lines, said: seen } = open({ file: join(directory, 'a.log') });
    lines.write(finished(core));
    clock.tick(50);
    await until(() => existsSync(join(directory, 'a.log')));
    lines.write(finished(core));
    clock.tick(50);
    await until(() => seen().split('\n').length === 3);
    await lines.close();
    assert.equal(records(readFileSync(join(directory, 'a.log'), 'utf8')).length, 2);
  });
});

describe('the console', () => {
  it('that breaks is reported once and stops nothing', async () => {
    const { core, clock, console, lines, log } = open();
    console.on('error', () => undefined);
    console.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await until(() => log.named('access_log.failed').length === 1);
    for (let n = 0; n < 3; n++) {
      lines.write(finished(core));
      clock.tick(50);
    }
    await lines.close();
    assert.equal(log.named('access_log.failed').length, 1);
  });

  it('that cannot keep up loses lines instead of memory', async () => {
    const config = resolveConfig({ logging: { file: false } }, {});
    const log = recorder();
    const clock = fakeClock();
    const core = { config, clock, log } as unknown as Core;
    const stuck = new PassThrough();
    const lines = accessLog(core, stuck);
    const text = 'x'.repeat(2000);
    for (let n = 0; n < 20_000; n++) lines.write(finished(core, { url: `/${text}` }));
    assert.ok(stuck.writableLength < 10_000_000, `${stuck.writableLength}`);
    assert.deepEqual(log.named('access_log.failed').map(({ error }) => error), ['cannot keep up']);
    await lines.close();
  });

  it('is given back as it was', async () => {
    const { console, lines, core } = open();
    lines.write(finished(core));
    await lines.close();
    await until(() => console.listenerCount('error') === 0);
    assert.equal(console.destroyed, false);
  });
});
