import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import { Context } from '../../lib/request/context.ts';
import { errors } from '../../lib/errors.ts';
import { Metrics } from '../../lib/telemetry/metrics.ts';
import { routeOf, routes } from '../../lib/upstream/routes.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { closing, request } from '../support/client.ts';
import { named, parse, type Sample } from '../support/exposition.ts';
import { startGate } from '../support/gate.ts';
import { startNewapi } from '../support/newapi.ts';
import { generator } from '../support/random.ts';

function metricsFor(input: ConfigInput['metrics'] = {}, live: ReadonlySet<unknown> = new Set()): Metrics {
  return new Metrics(resolveConfig({ metrics: input }), live);
}

/** A request that is over. */
function finished(over: Partial<Context> & { readonly method?: string; readonly path?: string } = {}): Context {
  const { method = 'POST', path = '/v1/chat/completions', ...rest } = over;
  const fixed = { status: 200, duration: 20, body: Buffer.alloc(0), bytesIn: 600, bytesOut: 3000, sentAt: 1, answeredAt: 19, headAt: 19.5, bodyWait: 0.25, errorCode: null, usage: null, cost: null, target: 'newapi' };
  const context = { ...fixed, req: { method }, route: routeOf(method, path), ...rest };
  return Object.defineProperty(context, 'overhead', Object.getOwnPropertyDescriptor(Context.prototype, 'overhead') as PropertyDescriptor) as unknown as Context;
}

describe('the exposition', () => {
  it('is Prometheus\' text format', async () => {
    const metrics = metricsFor();
    for (const status of [200, 404, 502, 0, 499, 101]) metrics.add(finished({ status, errorCode: status === 502 ? 'upstream_error' : null }));
    const { types, samples } = parse(await metrics.exposition());
    assert.match(metrics.contentType, /^text\/plain; version=0\.0\.4/);
    const ours = ['request_duration_seconds', 'request_size_bytes', 'response_size_bytes', 'overhead_seconds', 'active_requests', 'error_total'];
    for (const name of ours) assert.ok(types.has(`heimdall_${name}`), name);
    assert.ok([...types.keys()].every((name) => /^(heimdall|gen_ai)_/.test(name)));
    assert.ok(samples.length > 100);
    // A second scrape is the same document.
    assert.deepEqual([...parse(await metrics.exposition()).types], [...types]);
  });

  it('counts every request into cumulative buckets', async () => {
    const metrics = metricsFor();
    const durations = [0, 4, 5, 5.1, 20, 299_000, 301_000, 1e9];
    for (const duration of durations) metrics.add(finished({ duration }));
    const { samples } = parse(await metrics.exposition());
    const buckets = named(samples, 'heimdall_request_duration_seconds_bucket');
    assert.deepEqual(buckets.map(({ value }) => value), buckets.map(({ value }) => value).toSorted((a, b) => a - b));
    const at = (le: string): number | undefined => buckets.find(({ labels }) => labels['le'] === le)?.value;
    assert.deepEqual([at('0.005'), at('0.01'), at('0.025'), at('300'), at('+Inf')], [3, 4, 5, 6, 8]);
    assert.equal(named(samples, 'heimdall_request_duration_seconds_count')[0]?.value, 8);
    const sum = durations.reduce((total, ms) => total + ms / 1000, 0);
    assert.ok(Math.abs((named(samples, 'heimdall_request_duration_seconds_sum')[0]?.value ?? 0) - sum) < 1e-6);
  });

  it('keeps every histogram whole: +Inf is the count, the bounds rise', async () => {
    const metrics = metricsFor();
    const pick = generator(5);
    for (let n = 0; n < 500; n++) metrics.add(finished({ duration: pick(100_000), bytesIn: pick(1e9), bytesOut: pick(1e9), sentAt: pick(100), answeredAt: 100, headAt: 100 + pick(3), status: 100 + pick(500), method: ['GET', 'POST', 'PUT'][pick(3)] as string }));
    const { types, samples } = parse(await metrics.exposition());
    const rows = new Map<string, Sample[]>();
    for (const sample of samples) {
      if (!sample.name.endsWith('_bucket')) continue;
      const { le: _, ...labels } = sample.labels;
      const key = `${sample.name.slice(0, -7)} ${JSON.stringify(labels)}`;
      rows.set(key, [...(rows.get(key) ?? []), sample]);
    }
    assert.ok(rows.size > 20 && [...types.values()].includes('histogram'));
    for (const [key, buckets] of rows) {
      const bounds = buckets.map(({ labels }) => Number(labels['le']?.replace('+Inf', 'Infinity')));
      assert.deepEqual(bounds, bounds.toSorted((a, b) => a - b), key);
      assert.equal(bounds.at(-1), Infinity, key);
      const [name = '', labels = ''] = key.split(/ (.+)/);
      const count = named(samples, `${name}_count`).find((sample) => JSON.stringify(sample.labels) === labels);
      assert.equal(count?.value, buckets.at(-1)?.value, key);
    }
  });

  it('measures the time the gate added, and only where it passed something on', async () => {
    const metrics = metricsFor();
    metrics.add(finished());
    metrics.add(finished({ sentAt: null }));
    metrics.add(finished({ answeredAt: null }));
    const { samples } = parse(await metrics.exposition());
    assert.equal(named(samples, 'heimdall_overhead_seconds_count')[0]?.value, 1);
    assert.ok(Math.abs((named(samples, 'heimdall_overhead_seconds_sum')[0]?.value ?? 0) - 0.00125) < 1e-9);
  });

  it('counts the gate\'s own errors by code, and the requests in hand', async () => {
    const live = new Set<unknown>([1, 2, 3]);
    const metrics = metricsFor({}, live);
    for (const errorCode of ['missing_credential', 'missing_credential', 'no_target', null] as const) metrics.add(finished({ errorCode }));
    const { samples } = parse(await metrics.exposition());
    const counted = named(samples, 'heimdall_error_total');
    assert.deepEqual(Object.fromEntries(counted.filter(({ value }) => value > 0).map(({ labels, value }) => [labels['type'], value])), { missing_credential: 2, no_target: 1 });
    // A rise from nothing is seen only where there was a nothing.
    assert.equal(counted.length, Object.keys(errors).length);
    assert.equal(named(samples, 'heimdall_active_requests')[0]?.value, 3);
    live.clear();
    assert.equal(named(parse(await metrics.exposition()).samples, 'heimdall_active_requests')[0]?.value, 0);
  });

  it('holds only the series that are listed, under the prefix given', async () => {
    const metrics = metricsFor({ prefix: 'llm_gate_', series: ['error_total', 'request_duration_seconds'] });
    metrics.add(finished({ errorCode: 'no_target' }));
    assert.deepEqual([...parse(await metrics.exposition()).types.keys()].sort(), ['llm_gate_error_total', 'llm_gate_request_duration_seconds']);
    assert.deepEqual(parse(await metricsFor(['active_requests']).exposition()).samples, [{ name: 'heimdall_active_requests', labels: {}, value: 0 }]);
  });

  it('is empty but valid before the first request', async () => {
    assert.equal(named(parse(await metricsFor().exposition()).samples, 'heimdall_request_duration_seconds_count').length, 0);
  });
});

describe('the labels', () => {
  it('are bounded by the route table, whatever callers send', async () => {
    const metrics = metricsFor(['request_duration_seconds']);
    const pick = generator(9);
    const letters = 'abcdef/.%-_:"\\\n{}é';
    const text = (): string => Array.from({ length: 1 + pick(12) }, () => letters[pick(letters.length)]).join('');
    for (let n = 0; n < 20_000; n++) metrics.add(finished({ method: pick(2) ? text().toUpperCase() : 'GET', path: `/${['v1', 'mj', 'api', text()][pick(4)]}/${text()}`, status: pick(1000) }));
    const { samples } = parse(await metrics.exposition());
    const counts = named(samples, 'heimdall_request_duration_seconds_count');
    const templates = new Set(routes.map(({ template }) => template));
    for (const { labels } of counts) {
      assert.deepEqual(Object.keys(labels).sort(), ['method', 'route', 'status']);
      assert.ok(templates.has(labels['route'] as string), labels['route']);
      assert.match(labels['method'] as string, /^(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|other)$/);
      assert.match(labels['status'] as string, /^(?:none|[1-5]xx)$/);
    }
    assert.equal(counts.reduce((total, { value }) => total + value, 0), 20_000);
    assert.ok(counts.length <= templates.size * 8 * 6);
  });

  it('hold nothing of the caller\'s over HTTP', async (t) => {
    const newapi = closing(t, await startNewapi());
    const token = 'a-metrics-token-of-some-length';
    const { url } = await startGate(t, { newapi: { baseUrl: newapi.url }, metrics: { token } });
    const secret = 'sk-very-secret';
    for (const path of [`/v1/models/${secret}`, `/${secret}?key=${secret}`, `/mj/image/${secret}`, '/v1/chat/completions']) {
      await request(url + path, { headers: { Authorization: `Bearer ${secret}`, 'X-Secret': secret }, ...(path.endsWith('completions') ? { body: { model: secret } } : {}) });
    }
    const { text, status } = await request(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(status, 200);
    assert.ok(parse(text).samples.some(({ labels }) => labels['route'] === '/mj/image/:id'));
    assert.ok(!text.includes(secret) && !text.includes(token) && !text.includes('127.0.0.1'));
  });
});
