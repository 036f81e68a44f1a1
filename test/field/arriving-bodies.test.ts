import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http, { type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { it, type TestContext } from 'node:test';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { startUpstream } from '../support/upstream.ts';

const keyed = 'sk-a-key-of-the-gate-that-is-long-enough';
const sha256 = createHash('sha256').update(keyed).digest('hex');
const own = { provider: 'openai', apiKey: 'sk-of-the-target' };

/** A chat of about a megabyte. */
const chat = (more: object = {}, end: object = {}): Buffer => Buffer.from(JSON.stringify({ model: 'gpt-4o', ...more, messages: [{ role: 'system', content: 'abcdefghij'.repeat(100_000) }, { role: 'user', content: 'the question' }], ...end }));

/** A request as far as it has reached an upstream. */
interface Reached {
  readonly target: string;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly hash: ReturnType<typeof createHash>;
  size: number;
  isBroken: boolean;
}

interface Scene extends RunningGate {
  readonly reached: readonly Reached[];
  /** What the upstream does with a request at its head; default: it answers 200 when all of it is there. */
  begins: (reached: Reached) => void;
}

const answer = (res: ServerResponse, status = 200): void => {
  const body = status === 200 ? '{"choices":[]}' : '{"error":{"message":"no"}}';
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length, 'X-Oneapi-Request-Id': 'r' }).end(body);
};

async function scene(t: TestContext, config: (urls: readonly string[]) => ConfigInput = ([url]) => ({ newapi: { baseUrl: url as string } }), options: GateOptions = {}): Promise<Scene> {
  const reached: Reached[] = [];
  const at = { begins: ({ req, res }: Reached): void => void req.on('end', () => answer(res)) };
  const listener = (target: string) => (req: IncomingMessage, res: ServerResponse): void => {
    const each: Reached = { target, req, res, hash: createHash('md5'), size: 0, isBroken: false };
    reached.push(each);
    req.on('data', (chunk: Buffer) => {
      each.size += chunk.length;
      each.hash.update(chunk);
    }).on('error', () => (each.isBroken = true));
    at.begins(each);
  };
  const urls = [(await startUpstream(t, listener('one'))).url, (await startUpstream(t, listener('two'))).url];
  const gate = await startGate(t, config(urls), options);
  return Object.assign(at, gate, { reached }) as Scene;
}

interface Begun {
  readonly asked: ClientRequest;
  readonly answered: Promise<{ status: number; id: string; text: string; connection: string | undefined }>;
}

/** The record of a request that was served. */
async function recordOf({ gate }: Scene, { status, id }: Awaited<Begun['answered']>): Promise<Record<string, unknown>> {
  assert.equal(status, 200);
  return until(async () => (await recorded(gate)).find((each) => each['request_id'] === id));
}

/** Sends the head, and the first bytes of the body. */
function begin(t: TestContext, { port }: RunningGate, body: Buffer, first: number, headers: Record<string, string> = {}): Begun {
  const asked = http.request({ host: '127.0.0.1', port, path: '/v1/chat/completions', method: 'POST', headers: { Authorization: 'Bearer sk-of-a-caller', 'Content-Type': 'application/json', 'Content-Length': String(body.length), ...headers } });
  t.after(() => asked.destroy());
  asked.write(body.subarray(0, first));
  const answered = once(asked, 'response').then(async (came) => {
    const [res] = came as [IncomingMessage];
    let text = '';
    for await (const chunk of res.setEncoding('utf8')) text += String(chunk);
    return { status: res.statusCode ?? 0, id: String(res.headers['x-request-id']), text, connection: res.headers.connection };
  });
  answered.catch(() => undefined);
  return { asked, answered };
}

it('the first bytes of a long body are upstream before the last are sent, and the record is of the whole', async (t) => {
  const at = await scene(t);
  const body = chat();
  const { asked, answered } = begin(t, at, body, 100);
  await until(() => at.reached[0]?.size === 100);
  asked.write(body.subarray(100, 500_000));
  await until(() => at.reached[0]?.size === 500_000);
  asked.end(body.subarray(500_000));
  const served = await answered;
  const md5 = createHash('md5').update(body).digest('hex');
  assert.equal(at.reached[0]?.hash.digest('hex'), md5);
  assert.equal(at.reached[0]?.req.headers['content-length'], String(body.length));
  const row = await recordOf(at, served);
  assert.deepEqual([row['content_fingerprint'], row['bytes_in'], row['model'], row['outcome']], [md5, body.length, 'gpt-4o', 'served']);
  assert.match(String(row['request_body']), /the question/);
});

it('small chunks go on as they fill pieces, and arrive byte by byte', async (t) => {
  const at = await scene(t);
  const body = chat();
  const { asked, answered } = begin(t, at, body, 10);
  await until(() => at.reached[0]?.size === 10);
  for (let from = 10; from < body.length; from += 1000) if (!asked.write(body.subarray(from, from + 1000))) await once(asked, 'drain');
  asked.end();
  assert.equal((await answered).status, 200);
  assert.equal(at.reached[0]?.hash.digest('hex'), createHash('md5').update(body).digest('hex'));
});

for (const [what, body] of Object.entries({
  'is no JSON at its end': Buffer.concat([chat().subarray(0, -1), Buffer.from(',]')]),
  'names a wrong model at its end': chat({}, { model: 7 }),
})) it(`a body that ${what} is refused, and no upstream gets it whole`, async (t) => {
  const at = await scene(t);
  const { asked, answered } = begin(t, at, body, 300_000);
  await until(() => at.reached[0]?.size === 300_000);
  asked.end(body.subarray(300_000));
  assert.equal((await answered).status, 400);
  await until(() => at.reached[0]?.isBroken);
  assert.equal(at.reached.length, 1);
  assert.ok((at.reached[0] as Reached).size < body.length);
  // Nothing of it is left behind: the next one has the same way.
  const fine = chat();
  const next = begin(t, at, fine, 1);
  next.asked.end(fine.subarray(1));
  assert.equal((await next.answered).status, 200);
});

it('with mode: observe such a body goes on, and its record says what would have refused it', async (t) => {
  const at = await scene(t, ([url]) => ({ newapi: { baseUrl: url as string }, mode: 'observe' }));
  const body = chat({}, { model: 7 });
  const { asked, answered } = begin(t, at, body, 300_000);
  await until(() => at.reached[0]?.size === 300_000);
  asked.end(body.subarray(300_000));
  const row = await recordOf(at, await answered);
  assert.equal(row['would_refuse'], 'body');
});

const auth = (grant: object): ConfigInput => ({ auth: { mode: 'keys', keys: [{ name: 'team', sha256, ...grant }] } });
const waiting: Readonly<Record<string, (urls: readonly string[]) => ConfigInput>> = {
  'a key with a list of models': ([url]) => ({ ...auth({ models: ['gpt-4o'] }), llm: { ...own, endpoint: `${url}/v1` } }),
  'a limit on tokens': ([url]) => ({ newapi: { baseUrl: url as string }, rateLimit: { key: { tokens: { limit: 1e9, window: '60s' } } } }),
  'a policy for a model': ([url]) => ({ newapi: { baseUrl: url as string }, rateLimit: { policies: [{ match: { model: 'gpt-4o' }, requests: { limit: 100, window: '60s' } }] } }),
  'a target that knows the model by another name': ([url]) => ({ ...auth({}), llm: { ...own, endpoint: `${url}/v1`, models: { 'gpt-4o': 'other' } } }),
  'audit.durability: strict': ([url]) => ({ newapi: { baseUrl: url as string }, audit: { durability: 'strict' } }),
  'llm.stream_prelude_after': ([url]) => ({ newapi: { baseUrl: url as string }, llm: { streamPreludeAfter: '5s' } }),
  'fewer than eight slots': ([url]) => ({ newapi: { baseUrl: url as string }, queue: { concurrency: 7 } }),
};
for (const [rule, config] of Object.entries(waiting)) it(`waits for the whole body with ${rule}`, async (t) => {
  const at = await scene(t, config);
  const body = chat();
  const { asked, answered } = begin(t, at, body, 500_000, rule.includes('key') || rule.includes('target') ? { Authorization: `Bearer ${keyed}` } : {});
  // Another request passes the gate from its beginning to its end meanwhile.
  const other = begin(t, at, Buffer.from('{"model":"gpt-4o","messages":[]}'), 0, rule.includes('key') || rule.includes('target') ? { Authorization: `Bearer ${keyed}` } : {});
  other.asked.end('{"model":"gpt-4o","messages":[]}');
  assert.equal((await other.answered).status, 200);
  assert.equal(at.reached.length, 1);
  asked.end(body.subarray(500_000));
  assert.equal((await answered).status, 200);
  assert.equal(at.reached.length, 2);
});

it('an error that comes before the body is whole is told when it is, on a connection that stays', async (t) => {
  const at = await scene(t);
  at.begins = ({ req, res }) => void req.once('data', () => answer(res, 401));
  const body = chat();
  const { asked, answered } = begin(t, at, body, 300_000);
  await until(() => at.reached[0]?.res.writableFinished);
  asked.end(body.subarray(300_000));
  const { status, text, connection } = await answered;
  assert.deepEqual([status, text, connection], [401, '{"error":{"message":"no"}}', 'keep-alive']);
});

it('a target that breaks off while the body arrives has not served it, and the next one gets it whole', async (t) => {
  const at = await scene(t, ([one, two]) => ({ ...auth({}), llm: { ...own, endpoint: `${one}/v1`, backupProviders: [{ ...own, endpoint: `${two}/v1` }], retry: { initialDelay: 1, maxDelay: 1 } } }));
  at.begins = ({ target, req, res }) => void (target === 'one' ? req.once('data', () => res.destroy()) : req.on('end', () => answer(res)));
  const body = chat();
  const { asked, answered } = begin(t, at, body, 300_000, { Authorization: `Bearer ${keyed}` });
  await until(() => at.reached[1]?.size === 300_000);
  asked.end(body.subarray(300_000));
  assert.equal((await answered).status, 200);
  assert.deepEqual(at.reached.map(({ target }) => target), ['one', 'two']);
  assert.equal(at.reached[1]?.hash.digest('hex'), createHash('md5').update(body).digest('hex'));
});

it('a body that has begun at a target that fails is sent whole to the next', async (t) => {
  const at = await scene(t, ([one, two]) => ({ ...auth({}), llm: { ...own, endpoint: `${one}/v1`, backupProviders: [{ ...own, endpoint: `${two}/v1` }], retry: { initialDelay: 1, maxDelay: 1 } } }));
  at.begins = ({ target, req, res }) => void (target === 'one' ? req.once('data', () => answer(res, 500)) : req.on('end', () => answer(res)));
  const body = chat();
  const { asked, answered } = begin(t, at, body, 300_000, { Authorization: `Bearer ${keyed}` });
  await until(() => at.reached.some(({ target, size }) => target === 'two' && size === 300_000));
  asked.end(body.subarray(300_000));
  assert.equal((await answered).status, 200);
  assert.equal(at.reached.find(({ target }) => target === 'two')?.hash.digest('hex'), createHash('md5').update(body).digest('hex'));
});

it('a client that leaves ends the request upstream, and no part of its body is recorded', async (t) => {
  const at = await scene(t);
  const { asked } = begin(t, at, chat(), 300_000);
  asked.on('error', () => undefined);
  await until(() => at.reached[0]?.size === 300_000);
  asked.destroy();
  await until(() => at.reached[0]?.isBroken);
  const row = await until(async () => (await recorded(at.gate))[0]);
  assert.deepEqual([row['outcome'], row['response_status'], row['request_body'], row['content_fingerprint']], ['aborted', 499, null, null]);
});

it('requests whose bodies arrive hold an eighth of the slots at most, and one caller an eighth of that', async (t) => {
  const at = await scene(t, ([url]) => ({ newapi: { baseUrl: url as string }, queue: { concurrency: 128 }, trustProxy: ['loopback'] }));
  const body = chat();
  const from = (address: string): Begun => begin(t, at, body, 300_000, { 'X-Forwarded-For': address });
  const first = [from('198.51.100.1'), from('198.51.100.1')];
  await until(() => at.reached.length === 2 && at.reached.every(({ size }) => size === 300_000));
  const third = from('198.51.100.1');
  const others = Array.from({ length: 14 }, (_, at) => from(`198.51.100.${at + 2}`));
  await until(() => at.reached.length === 16);
  const late = from('198.51.100.99');
  first[0]?.asked.end(body.subarray(300_000));
  assert.equal((await first[0]?.answered)?.status, 200);
  assert.equal(at.reached.length, 16);
  // The place that is free now is taken by the next bytes that come.
  late.asked.write(body.subarray(300_000, 400_000));
  await until(() => at.reached.length === 17);
  for (const { asked } of [first[1] as Begun, third, ...others]) asked.end(body.subarray(300_000));
  late.asked.end(body.subarray(400_000));
  for (const { answered } of [first[1] as Begun, third, late, ...others]) assert.equal((await answered).status, 200);
});

it('a body that stops arriving is refused, upstream too', async (t) => {
  const clock = fakeClock();
  const at = await scene(t, ([url]) => ({ newapi: { baseUrl: url as string }, server: { readTimeout: '1s' } }), { clock });
  const { answered } = begin(t, at, chat(), 300_000);
  await until(() => at.reached[0]?.size === 300_000);
  const told = answered.then(({ status }) => status);
  let status = 0;
  told.then((found) => (status = found)).catch(() => undefined);
  await until(() => {
    clock.tick(500);
    return status !== 0;
  });
  assert.equal(status, 408);
  await until(() => at.reached[0]?.isBroken);
});

it('failures of one model close no other one, and the model is waited for where a target has a breaker for each', async (t) => {
  const at = await scene(t, ([url]) => ({ ...auth({}), llm: { ...own, endpoint: `${url}/v1`, retry: { maxRetries: 0 } }, circuitBreaker: { failureThreshold: 2 } }));
  at.begins = ({ req, res }) => void req.once('data', () => answer(res, 500));
  const credential = { Authorization: `Bearer ${keyed}` };
  const broken = chat({ model: 'broken' });
  for (let nth = 0; nth < 3; nth++) {
    const { asked, answered } = begin(t, at, broken, 300_000, credential);
    if (nth < 2) await until(() => at.reached[nth]?.res.writableFinished);
    asked.end(broken.subarray(300_000));
    assert.equal((await answered).status, nth < 2 ? 500 : 503);
  }
  assert.equal(at.reached.length, 2);
  at.begins = ({ req, res }) => void req.on('end', () => answer(res));
  const text = chat().toString();
  const behind = Buffer.from(`{${text.slice(text.indexOf('"messages"'), -1)},"model":"fine"}`);
  const { asked, answered } = begin(t, at, behind, 500_000, credential);
  const other = begin(t, at, Buffer.from('{"model":"fine","messages":[]}'), 0, credential);
  other.asked.end('{"model":"fine","messages":[]}');
  assert.equal((await other.answered).status, 200);
  assert.equal(at.reached.length, 3);
  asked.end(behind.subarray(500_000));
  assert.equal((await answered).status, 200);
});

it('a model behind the messages is not waited for where NewAPI alone is asked', async (t) => {
  const at = await scene(t);
  const text = chat().toString();
  const body = Buffer.from(`{${text.slice(text.indexOf('"messages"'), -1)},"model":"fine"}`);
  const { asked, answered } = begin(t, at, body, 500_000);
  await until(() => at.reached[0]?.size === 500_000);
  asked.end(body.subarray(500_000));
  const row = await recordOf(at, await answered);
  assert.equal(row['model'], 'fine');
});
