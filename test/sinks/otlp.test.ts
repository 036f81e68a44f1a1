import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { otlpSink, type OtlpSinkOptions } from '../../lib/sinks/otlp.ts';
import type { Signal } from '../../lib/sinks/packer.ts';
import { traceOf, traceparentOf } from '../../lib/values/values.ts';
import type { OtlpConfig } from '../../types/config.d.ts';
import { sinkContract } from '../contracts/sink.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { aRecord } from '../support/fake-journal.ts';
import { startGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

interface Told { readonly key: string; readonly value: Readonly<Record<string, unknown>> }
interface Item { readonly traceId?: string; readonly spanId?: string; readonly parentSpanId?: string; readonly name?: string; readonly attributes: readonly Told[]; readonly [more: string]: unknown }

/** A receiver of OTLP, and the ways in which it may fail. */
async function startCollector() {
  const taken: Item[] = [];
  const calls: { path: string; headers: IncomingHttpHeaders; text: string }[] = [];
  let server: Server | null = null;
  let port = 0;
  const collector = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    taken,
    calls,
    silent: false,
    status: 200,
    headers: {} as Record<string, string>,
    answer: '{"partialSuccess":{}}',
    refuses: (_item: Item): boolean => false,
    async stop() {
      const old = server;
      server = null;
      if (old === null) return;
      const ending = once(old, 'close');
      old.close();
      old.closeAllConnections();
      await ending;
    },
    async start() {
      if (server !== null) return;
      server = createServer((req, res) => {
        const chunks: Buffer[] = [];
        req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
          const text = Buffer.concat(chunks).toString();
          calls.push({ path: req.url ?? '', headers: req.headers, text });
          if (collector.silent) return;
          const items = itemsOf(text);
          const status = items.some(collector.refuses) ? 400 : collector.status;
          if (status === 200) taken.push(...items);
          res.writeHead(status, { 'Content-Type': 'application/json', ...collector.headers }).end(collector.answer);
        });
      });
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
    },
    close: () => collector.stop(),
  };
  await collector.start();
  return collector;
}

function itemsOf(text: string): Item[] {
  const { resourceSpans, resourceLogs } = JSON.parse(text) as { resourceSpans?: { scopeSpans: { spans: Item[] }[] }[]; resourceLogs?: { scopeLogs: { logRecords: Item[] }[] }[] };
  return [...(resourceSpans ?? []).flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)), ...(resourceLogs ?? []).flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords))];
}

const attributesOf = ({ attributes }: Item): Record<string, unknown> => Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
const signal = new AbortController().signal;
const defaults: Omit<OtlpConfig, 'endpoint'> = { headers: null, caPath: null, traces: true, logs: true, sample: 1, bodies: false, timeout: 5000, batch: 10 };

async function start(t: TestContext, kind: Signal = 'traces', more: Partial<OtlpConfig> = {}) {
  const collector = closing(t, await startCollector());
  const options: OtlpSinkOptions = { otlp: { ...defaults, ...more, endpoint: collector.url }, clock: fakeClock() };
  const sink = otlpSink(kind, options);
  t.after(() => sink.close?.());
  return { collector, sink };
}

describe('OTLP', () => {
  for (const kind of ['traces', 'logs'] as const) {
    sinkContract(`its ${kind}`, 'kept twice', async (t) => {
      const { collector, sink } = await start(t, kind, { headers: 'authorization=Bearer%20a-secret' });
      collector.refuses = (item) => attributesOf(item)['url.path'] === '/v1/poison';
      return {
        sink,
        taken: async () => collector.taken.map((item) => Number(String(attributesOf(item)['url.path']).split('/').at(-1))),
        fail: () => collector.stop(),
        async heal() {
          collector.silent = false;
          await collector.start();
        },
        hang: async () => void (collector.silent = true),
        poison: { request_path: '/v1/poison' },
        secrets: ['a-secret'],
      };
    });
  }

  it('gets a span under the names of the conventions', async (t) => {
    const { collector, sink } = await start(t, 'traces', { headers: 'Authorization=Bearer%20abc,X-Scope=a' });
    const failed = aRecord(2, { request_id: '019b8c2a-1c00-7abc-8123-456789abcdef', response_status: 502, response_time: 1500, outcome: 'upstream_error', request_headers: '{"host":"llm.example.com:8443"}', query: 'key=secret' });
    assert.deepEqual(await sink.deliver([aRecord(1), failed], signal), { kind: 'delivered' });
    const [call] = collector.calls;
    assert.deepEqual([call?.path, call?.headers['content-type'], call?.headers.authorization, call?.headers['x-scope']], ['/v1/traces', 'application/json', 'Bearer abc', 'a']);
    const [good, bad] = collector.taken;
    assert.deepEqual([good?.name, good?.['kind'], good?.['status'], bad?.['status']], ['POST /v1/chat/completions', 2, undefined, { code: 2 }]);
    assert.deepEqual([bad?.traceId, bad?.parentSpanId, BigInt(String(bad?.['endTimeUnixNano'])) - BigInt(String(bad?.['startTimeUnixNano']))], ['019b8c2a1c007abc8123456789abcdef', undefined, 1_500_000_000n]);
    const attributes = attributesOf(good as Item);
    const { 'http.request.method': method, 'http.response.status_code': status, 'gen_ai.request.model': model, 'gen_ai.usage.input_tokens': input, 'gen_ai.operation.name': operation, 'client.address': client } = attributes;
    assert.deepEqual([method, status, model, input, operation, client], ['POST', '200', 'gpt-4o', '10', 'chat', '192.0.2.7']);
    const { 'server.address': server, 'server.port': port, 'error.type': error } = attributesOf(bad as Item);
    assert.deepEqual([server, port, error], ['llm.example.com', '8443', 'upstream_error']);
    assert.ok(!call?.text.includes('gpt-4o\\"') && !call?.text.includes('key=secret'), 'neither body nor query');
  });

  it('gets bodies only where asked, and logs within their trace', async (t) => {
    const { collector, sink } = await start(t, 'logs', { bodies: true });
    await sink.deliver([aRecord(1, { outcome: 'refused:banned', response_status: 403 })], signal);
    const [log] = collector.taken;
    assert.deepEqual([log?.['severityText'], log?.traceId, attributesOf(log as Item)['heimdall.request_body']], ['WARN', traceOf(aRecord(1).request_id, null, 1).id, '{"model":"gpt-4o"}']);
  });

  it('is understood', async (t) => {
    const { collector, sink } = await start(t);
    const said: unknown[] = [];
    for (const [status, headers, answer] of [[200, {}, '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"x"}}'], [200, {}, 'ejected'], [429, { 'Retry-After': '3' }, ''], [503, {}, ''], [401, {}, ''], [404, {}, ''], [413, {}, ''], [302, { Location: '/x' }, '']] as const) {
      Object.assign(collector, { status, headers, answer });
      said.push(await sink.deliver([aRecord(1), aRecord(2)], signal));
    }
    const held = (status: number, more = {}) => ({ kind: 'held', reason: `the receiver answered ${status}`, ...more });
    assert.deepEqual(said, [{ kind: 'delivered', refused: 1 }, { kind: 'delivered' }, held(429, { wait: 3000 }), held(503), held(401), held(404), { kind: 'refused', reason: 'the receiver answered 413' }, held(302)]);
  });

  it('wants no span of what is not sampled or came from elsewhere', async (t) => {
    const { sink } = await start(t, 'traces', { sample: 0.25 });
    const parent = (flags: string) => ({ request_headers: `{"traceparent":"00-${'a'.repeat(32)}-${'b'.repeat(16)}-${flags}"}` });
    assert.deepEqual([aRecord(1, parent('01')), aRecord(1, parent('00')), aRecord(1, { source: 'ingest:0123abcd' })].map((record) => sink.wants?.(record)), [true, false, false]);
    const ids = ['00000000', '3fffffff', '40000000', 'ffffffff'].map((end) => ({ request_id: `01980000-0000-7000-8000-0000${end}` }));
    assert.deepEqual(ids.map((id) => sink.wants?.(aRecord(1, id))), [true, true, false, false]);
  });
});

const trace = '0af7651916cd43dd8448eb211c80319c';
const parent = 'b7ad6b7169203331';
const given = `00-${trace}-${parent}-01`;

describe('a trace', () => {
  it('goes on from a valid traceparent alone', () => {
    const id = '019b8c2a-1c00-7abc-8123-456789abcdef';
    for (const good of [given, `cc-${trace}-${parent}-01`, `cc-${trace}-${parent}-01-what-comes-later`]) assert.deepEqual([traceOf(id, good, 1).id, traceOf(id, good, 1).parent], [trace, parent], good);
    for (const bad of [undefined, '', 'x', `${given}-more`, `${given}-`, given.toUpperCase(), `ff-${trace}-${parent}-01`, `00-${'0'.repeat(32)}-${parent}-01`, `00-${trace}-${'0'.repeat(16)}-01`, `${given}, ${given}`, `00-${trace}-${parent}-1`]) {
      assert.deepEqual([traceOf(id, bad, 1).id, traceOf(id, bad, 1).parent], [id.replaceAll('-', ''), null], bad);
    }
    assert.match(traceparentOf(traceOf(id, null, 1)), /^00-[\da-f]{32}-[\da-f]{16}-01$/);
  });

  it('reaches upstream and collector as one', async (t) => {
    const collector = closing(t, await startCollector());
    const seen: IncomingHttpHeaders[] = [];
    const upstream = await startUpstream(t, (req, res) => {
      if (req.url?.startsWith('/v1') || req.url === '/page') seen.push(req.headers);
      res.end('{}');
    });
    const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, audit: { otlp: { endpoint: collector.url } } });
    const post = (headers: Record<string, string>) => request(`${url}/v1/chat/completions`, { method: 'POST', headers: { authorization: 'Bearer sk-test', 'content-type': 'application/json', ...headers }, body: '{"model":"m","messages":[]}' });
    await post({ traceparent: given, tracestate: 'a=1' });
    await post({ tracestate: 'a=1', traceparent: 'nonsense' });
    await post({ traceparent: given.replace(/1$/, '0'), tracestate: 'a=1' });
    await request(`${url}/page`, { headers: { traceparent: given } });
    const [one, two, three, page] = seen;
    await until(() => collector.taken.length === 3);
    const spans = collector.taken.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`);
    assert.deepEqual(spans, [one?.['traceparent'], two?.['traceparent'], page?.['traceparent']]);
    assert.deepEqual(collector.taken.map(({ traceId, parentSpanId }) => [traceId === trace, parentSpanId]), [[true, parent], [false, undefined], [true, parent]]);
    assert.deepEqual([one?.['tracestate'], two?.['tracestate'], three?.['traceparent'], three?.['tracestate']], ['a=1', undefined, given.replace(/1$/, '0'), 'a=1']);
  });

  it('is no business of the gate while the sink is off', async (t) => {
    const seen: IncomingHttpHeaders[] = [];
    const upstream = await startUpstream(t, (req, res) => {
      if (req.url?.startsWith('/v1')) seen.push(req.headers);
      res.end('{}');
    });
    for (const otlp of [{}, { endpoint: 'http://127.0.0.1:9', traces: false, logs: true }]) {
      const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, audit: { otlp } });
      await request(`${url}/v1/models`, { headers: { authorization: 'Bearer sk-test' } });
      await request(`${url}/v1/models`, { headers: { authorization: 'Bearer sk-test', traceparent: 'nonsense', tracestate: 'a=1' } });
    }
    assert.deepEqual(seen.map((headers) => [headers['traceparent'], headers['tracestate']]), [[undefined, undefined], ['nonsense', 'a=1'], [undefined, undefined], ['nonsense', 'a=1']]);
  });
});
