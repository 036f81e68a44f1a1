import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { Context, Finisher } from '../../lib/request/request.ts';
import { openStream, until, type LiveStream, type SentHeaders } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { internalsOf } from '../../lib/gateway.ts';
import type { Link } from '../../lib/platform/platform.ts';
import { startThreads } from '../support/crew.ts';
import { nowhere } from '../support/upstream.ts';
import { bearer, problem, startAdmin, token, type AdminHarness } from './harness.ts';

interface Said {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Everything of one kind a stream has said. */
const said = (stream: LiveStream, kind: 'log' | 'request' | 'rate'): Said[] => stream.events.filter(({ event }) => event === kind).map(({ data = '' }) => JSON.parse(data) as Said);

async function reading(t: TestContext, { url, hub }: AdminHarness, headers: SentHeaders = bearer, query = ''): Promise<LiveStream> {
  const before = hub.readers;
  const stream = await openStream(`${url}/ops/api/events${query}`, { headers });
  t.after(() => stream.abort());
  await until(() => hub.readers === before + 1);
  return stream;
}

/** A request that has ended. */
const ended = (template: string, key: string | null = null): Context => ({ id: 'r', time: 0, ip: '192.0.2.1', key, token: null, route: { template }, req: { method: 'GET' }, model: null, stream: false, target: null, status: 200, outcome: 'served', errorCode: null, duration: 1, usage: null, cost: null }) as unknown as Context;

const lastId = (stream: LiveStream): string => stream.text.match(/^id: (.+)$/gm)?.at(-1)?.slice(4) ?? '';

describe('the event stream', () => {
  it('tells what the event log is told, as it happens', async (t) => {
    const harness = await startAdmin(t);
    harness.core.log.warn({ early: true }, 'before');
    const stream = await reading(t, harness);
    assert.deepEqual([stream.status, stream.headers['content-type'], stream.headers['cache-control'], stream.headers['x-accel-buffering']], [200, 'text/event-stream', 'no-store', 'no']);
    harness.core.log.warn({ requestId: 'r', ip: '192.0.2.1' }, 'auth.failed');
    harness.core.log.error({ error: { name: 'Error' } }, 'request.panic');
    harness.core.log.info({}, 'admin.change');
    harness.core.log.debug({}, 'detail');
    await until(() => said(stream, 'log').length === 3);
    assert.deepEqual(said(stream, 'log'), [
      { time: '2026-01-05T00:00:00.000Z', level: 'warn', event: 'auth.failed', request_id: 'r', ip: '192.0.2.1' },
      { time: '2026-01-05T00:00:00.000Z', level: 'error', event: 'request.panic', error: { name: 'Error' } },
      { time: '2026-01-05T00:00:00.000Z', level: 'info', event: 'admin.change' },
    ]);
    assert.deepEqual(harness.log.events.map(({ level, event }) => `${level} ${event}`), ['warn before', 'warn auth.failed', 'error request.panic', 'info admin.change', 'debug detail']);
  });

  it('asks middleware in front not to collect it', async (t) => {
    const harness = await startAdmin(t, {}, {
      before: (app) => app.use((_req, res, next) => {
        const { write } = res;
        res.write = write;
        next();
      }),
    });
    const stream = await reading(t, harness);
    assert.equal(stream.headers['cache-control'], 'no-store, no-transform');
  });

  it('has the details where they are logged', async (t) => {
    const harness = await startAdmin(t, { logging: { level: 'debug' } });
    const stream = await reading(t, harness);
    harness.core.log.debug({ n: 1 }, 'detail');
    assert.equal((await until(() => said(stream, 'log')[0])).event, 'detail');
  });

  it('tells of every request as it ends, masked, while somebody reads', async (t) => {
    const harness = await startAdmin(t);
    const stream = await reading(t, harness);
    await harness.ask('keys/nobody');
    const [request] = await until(() => (said(stream, 'request').length > 0 ? said(stream, 'request') : undefined));
    const { id, duration, ...rest } = request as Said & { duration: number };
    assert.match(String(id), /^[0-9a-f-]{36}$/);
    assert.ok(duration >= 0);
    assert.deepEqual(rest, {
      time: '2026-01-05T00:00:00.000Z', ip: '127.0.0.1', key: null, token: null, token_mask: null, route: '/heimdall/api/keys/:name', method: 'GET', model: null, stream: false, target: null, status: 404, outcome: 'refused',
      error: 'not_found', prompt_tokens: null, completion_tokens: null, cost: null,
    });
    assert.ok(!stream.text.includes(token));
  });

  it('goes on where a reader was before', async (t) => {
    const harness = await startAdmin(t);
    harness.core.log.warn({ n: 0 }, 'seen');
    const first = await reading(t, harness);
    harness.core.log.warn({ n: 1 }, 'seen');
    await until(() => said(first, 'log').length === 1);
    const id = lastId(first);
    first.abort();
    await until(() => harness.hub.readers === 0);
    for (const n of [2, 3]) harness.core.log.warn({ n }, 'missed');
    const second = await reading(t, harness, { ...bearer, 'Last-Event-ID': id });
    assert.deepEqual((await until(() => (said(second, 'log').length === 2 ? said(second, 'log') : undefined))).map(({ n }) => n), [2, 3]);
    const third = await reading(t, harness, { ...bearer, 'Last-Event-ID': lastId(second) });
    harness.core.log.warn({ n: 4 }, 'live');
    assert.deepEqual((await until(() => (said(third, 'log').length === 1 ? said(third, 'log') : undefined))).map(({ n }) => n), [4]);
  });

  it('gives a reader that saw nothing a number to come back with', async (t) => {
    const harness = await startAdmin(t);
    harness.core.log.warn({ n: 1 }, 'old');
    const first = await reading(t, harness);
    await until(() => lastId(first) !== '');
    const id = lastId(first);
    first.abort();
    await until(() => harness.hub.readers === 0);
    harness.core.log.warn({ n: 2 }, 'missed');
    const second = await reading(t, harness, { ...bearer, 'Last-Event-ID': id });
    assert.deepEqual((await until(() => (said(second, 'log').length > 0 ? said(second, 'log') : undefined))).map(({ n }) => n), [2]);
  });

  it('gives all it has kept to who comes back, and does not take them for slow', async (t) => {
    const harness = await startAdmin(t);
    for (let n = 1; n <= 500; n++) harness.core.log.info({ n, filler: 'x'.repeat(3900) }, 'many');
    const stream = await reading(t, harness, { ...bearer, 'Last-Event-ID': '0' });
    await until(() => said(stream, 'log').length === 500);
    assert.deepEqual(harness.log.named('admin.reader_dropped'), []);
  });

  it('keeps the last five hundred events for who comes from another run, or makes up a number', async (t) => {
    const harness = await startAdmin(t);
    for (let n = 1; n <= 510; n++) harness.core.log.info({ n }, 'many');
    for (const id of ['0', 'another-7', '', `${harness.core.clock.now().toString(36)}-x`, `${harness.core.clock.now().toString(36)}-3`]) {
      const stream = await reading(t, harness, { ...bearer, 'Last-Event-ID': id });
      const told = await until(() => (said(stream, 'log').length === 500 ? said(stream, 'log') : undefined), `500 events for ${JSON.stringify(id)}`);
      assert.deepEqual([told[0]?.['n'], told.at(-1)?.['n']], [11, 510]);
      stream.abort();
      await until(() => harness.hub.readers === 0);
    }
    const ahead = await reading(t, harness, { ...bearer, 'Last-Event-ID': `${harness.core.clock.now().toString(36)}-9999` });
    harness.core.log.info({ n: 511 }, 'many');
    assert.deepEqual((await until(() => (said(ahead, 'log').length > 0 ? said(ahead, 'log') : undefined))).map(({ n }) => n), [511]);
  });

  it('bounds an event', async (t) => {
    const harness = await startAdmin(t);
    const stream = await reading(t, harness);
    harness.core.log.warn({ long: 'x'.repeat(5000) }, 'huge');
    const [event] = await until(() => (said(stream, 'log').length > 0 ? said(stream, 'log') : undefined));
    assert.deepEqual(event, { time: '2026-01-05T00:00:00.000Z', level: 'warn', event: 'huge', truncated: true });
  });

  it('says something into every long silence', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, {}, { clock });
    const stream = await reading(t, harness);
    const comments = (): number => stream.events.filter(({ comment }) => comment === 'keep-alive').length;
    clock.tick(14_000);
    harness.core.log.warn({}, 'a sign of life');
    clock.tick(14_000);
    harness.core.log.warn({}, 'another');
    await until(() => said(stream, 'log').length === 2);
    assert.equal(comments(), 0);
    clock.tick(31_000);
    await until(() => comments() === 2);
  });

  it('has sixty-four readers at a time, sixteen of one address, and room again when one leaves', async (t) => {
    const harness = await startAdmin(t, { trustProxy: ['127.0.0.1'] });
    const from = (address: string) => ({ ...bearer, 'X-Forwarded-For': address });
    const refused = async (address: string): Promise<void> => {
      const answer = await harness.ask('events', { headers: from(address) });
      assert.deepEqual(problem(answer), [503, 'too_many_readers', null]);
      assert.equal(answer.headers['retry-after'], '3');
    };
    const streams: LiveStream[] = [];
    for (const address of ['192.0.2.1', '2001:db8::1', '192.0.2.3', '192.0.2.4']) {
      for (let n = 0; n < 16; n++) streams.push(await reading(t, harness, from(address)));
      await refused(address === '2001:db8::1' ? '2001:db8::2' : address);
    }
    await refused('192.0.2.5');
    streams[0]?.abort();
    await until(() => harness.hub.readers === 63);
    await reading(t, harness, from('192.0.2.5'));
  });

  it('drops a reader that takes nothing, and no other', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, {}, { clock });
    const well = await reading(t, harness);
    const slow = connect(Number(new URL(harness.url).port), '127.0.0.1');
    slow.write(`GET /ops/api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    t.after(() => slow.destroy());
    await until(() => harness.hub.readers === 2);
    slow.pause();
    const filler = 'x'.repeat(3900);
    let sent = 0;
    await until(() => {
      for (let n = 0; n < 50; n++, sent++) harness.core.log.info({ filler }, 'flood');
      clock.tick(250);
      return harness.hub.readers === 1;
    });
    assert.equal(harness.log.named('admin.reader_dropped').length, 1);
    await until(() => said(well, 'log').filter(({ event }) => event === 'flood').length === sent);
    assert.equal(harness.core.inFlight.size, 1);
  });

  it('ends when the gate drains, and begins no more', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, {}, { clock });
    const stream = await reading(t, harness);
    harness.core.draining = true;
    clock.tick(200);
    await stream.done;
    assert.equal(stream.complete, true);
    await until(() => harness.core.inFlight.size === 0 && harness.hub.readers === 0);
    assert.deepEqual(problem(await harness.ask('events')), [503, 'shutting_down', null]);
  });

  it('shows so many rows a second of what passes its filters, spread evenly, and tells the real rate', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, { admin: { path: '/ops' } }, { clock });
    const [all, some, none] = [await reading(t, harness, bearer, '?rows=3'), await reading(t, harness, bearer, '?rows=20&status=4xx'), await reading(t, harness, bearer, '?rows=20&own=false')];
    const ask = async (times: number, path: string): Promise<void> => {
      for (let nth = 0; nth < times; nth++) await harness.ask(path);
    };
    await ask(5, 'queue');
    await ask(1, 'nothing');
    clock.tick(1000);
    await until(() => [all, some, none].every((stream) => said(stream, 'rate').length === 1));
    const rates = () => [all, some, none].map((stream) => said(stream, 'rate').at(-1)).map((rate) => [rate?.['requests'], rate?.['shown']]);
    assert.deepEqual([rates(), said(all, 'request').length, said(some, 'request').map(({ status }) => status)], [[[6, 3], [1, 1], [0, 0]], 3, [404]]);
    assert.deepEqual(Object.keys(said(all, 'rate')[0] ?? {}), ['time', 'requests', 'shown', 'in_hand', 'waiting']);
    // Of three rows a second one may be shown in the first quarter of it, and two in the half.
    await ask(3, 'queue');
    clock.tick(400);
    await ask(3, 'queue');
    clock.tick(600);
    await until(() => said(all, 'rate').length === 2);
    assert.deepEqual([rates()[0], said(all, 'request').length], [[6, 2], 5]);
    for (const [query, field] of [['rows=21', 'rows'], ['rows=0', 'rows'], ['status=9xx', 'status'], ['outcome=lost', 'outcome'], ['nothing=1', 'nothing'], ['own=1', 'own']]) assert.deepEqual(problem(await harness.ask(`events?${query}`)), [400, 'invalid_value', field], query);
  });

  it('writes once in a quarter of a second to a reader, and tells readers that ask for the same the same', async (t) => {
    const clock = fakeClock();
    const written: string[] = [];
    const harness = await startAdmin(t, {}, {
      clock,
      before: (app) => app.use((_req, res, next) => {
        const { write } = res;
        res.write = (...args: unknown[]) => (written.push(String(args[0])), Reflect.apply(write, res, args) as boolean);
        next();
      }),
    });
    const streams = [await reading(t, harness, bearer, '?rows=2'), await reading(t, harness, bearer, '?rows=2')];
    written.length = 0;
    for (let nth = 0; nth < 5; nth++) await harness.ask('queue');
    assert.deepEqual(written, []);
    clock.tick(250);
    await until(() => streams.every((stream) => said(stream, 'request').length === 2));
    assert.deepEqual([written.length, written[0]], [2, written[1]]);
    clock.tick(750);
    await until(() => streams.every((stream) => said(stream, 'rate').length === 1));
    assert.deepEqual([written.length, written[2]], [4, written[3]]);
    streams[0]?.abort();
    await until(() => harness.hub.readers === 1);
    clock.tick(1000);
    await until(() => said(streams[1] as LiveStream, 'rate').length === 2);
    assert.deepEqual(said(streams[1] as LiveStream, 'rate').map(({ requests, shown }) => [requests, shown]), [[5, 2], [1, 1]], 'the end of the other stream is a request too');
  });

  it('shows twenty of five thousand requests a second, and of the others only counts one', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, {}, { clock });
    const streams = await Promise.all(Array.from({ length: 10 }, () => openStream(`${harness.url}/ops/api/events?rows=20&own=false`, { headers: bearer })));
    t.after(() => streams.forEach((stream) => stream.abort()));
    await until(() => harness.hub.readers === 10);
    const finisher = harness.core.finishers.at(-1) as Finisher;
    // Says what is read of it.
    const read: string[] = [];
    const finished = new Proxy(ended('/api'), { get: (from, name) => (read.push(String(name)), Reflect.get(from, name) as unknown) });
    const seconds = 3;
    for (let beat = 1; beat <= seconds * 4; beat++) {
      read.length = 0;
      for (let nth = 0; nth < 1250; nth++) finisher(finished);
      const rows = beat <= 4 ? (beat === 1 ? 20 : 0) : 5;
      assert.deepEqual([read.filter((name) => name === 'route').length, read.filter((name) => name === 'id').length, read.slice(-1000)], [1250 + rows, rows, Array.from({ length: 1000 }, () => 'route')], `quarter ${beat}`);
      clock.tick(250);
    }
    for (const stream of streams) {
      await until(() => said(stream, 'rate').length === seconds);
      assert.deepEqual([said(stream, 'rate').map(({ requests, shown }) => [requests, shown]), said(stream, 'request').length], [[[5000, 20], [5000, 20], [5000, 20]], 60]);
    }
  });

  it('tells the events of a storm together', async (t) => {
    const clock = fakeClock();
    const harness = await startAdmin(t, {}, { clock });
    const stream = await reading(t, harness);
    const storm = (): void => {
      for (let n = 0; n < 10; n++) harness.core.log.warn({ n }, 'storm');
    };
    storm();
    await until(() => said(stream, 'log').length === 4);
    const second = await reading(t, harness, bearer, '?rows=1');
    await until(() => said(stream, 'log').length === 10);
    storm();
    clock.tick(250);
    await until(() => said(stream, 'log').length === 20 && said(second, 'log').length === 10);
    harness.core.log.warn({ n: 10 }, 'storm');
    await until(() => said(stream, 'log').length === 21 && said(second, 'log').length === 11);
    assert.deepEqual(said(second, 'log').map(({ n }) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('costs nothing while nobody reads', async (t) => {
    const harness = await startAdmin(t);
    const finishers = (): number => harness.core.finishers.length;
    const before = finishers();
    const [one, other] = [await reading(t, harness), await reading(t, harness)];
    assert.equal(finishers(), before + 1);
    one.abort();
    await until(() => harness.hub.readers === 1);
    assert.equal(finishers(), before + 1);
    other.abort();
    await until(() => finishers() === before);
  });
});

it('workers tell the main thread four times a second what readers ask for, of however many requests', async (t) => {
  const { main, clock, join } = await startThreads(t, { newapi: { baseUrl: await nowhere() }, admin: { token, listen: false } });
  const told: number[] = [];
  const workers = await Promise.all(['/one', '/two'].map(async (template) => {
    const { gate, crew } = await join();
    const { finishers } = internalsOf(gate).core;
    const link = crew.main as Link;
    const { tell } = link;
    link.tell = (topic, value) => {
      if (topic === 'live.seen') told.push(1);
      tell.call(link, topic, value);
    };
    return { finishers, template, before: finishers.length };
  }));
  const stream = await openStream(`${main.url}/heimdall/api/events?rows=20&key=a`, { headers: bearer });
  t.after(() => stream.abort());
  await until(() => stream.text.includes('connected'));
  await until(() => workers.every(({ finishers, before }) => finishers.length === before + 1));
  const rates = () => said(stream, 'rate');
  for (let beat = 1; beat <= 16; beat++) {
    for (const { finishers, template } of workers) for (let nth = 0; nth < 1250; nth++) finishers.at(-1)?.(ended(template, nth % 2 === 0 ? 'a' : 'b'));
    const before = told.length;
    clock.tick(250);
    await until(() => told.length === before + workers.length);
    // What was told arrives with the next round of the event loop.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  await until(() => rates().length === 4);
  const [, ...others] = rates().map(({ requests, shown }) => [requests, shown]);
  assert.deepEqual([others, told.length], [[[5000, 20], [5000, 20], [5000, 20]], 32]);
  const rows = said(stream, 'request').slice(-20).map(({ route }) => route);
  assert.deepEqual([rows.length, new Set(rows)], [20, new Set(['/one', '/two'])]);
  stream.abort();
  await until(() => workers.every(({ finishers, before }) => finishers.length === before));
});
