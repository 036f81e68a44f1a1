import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { RawRecord } from '../../lib/record/decode.ts';
import { RecordBuilder } from '../../lib/record/builder.ts';
import { masked } from '../../lib/redaction/mask.ts';
import { columns, names, parts, valuesOf, type RecordRow } from '../../lib/record/columns.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const drafter = (): RecordBuilder => new RecordBuilder({ secret: 'a secret of this test alone', hidden: ['the-configured-secret'], capture: { headers: 'safe', body: 1024, text: 1024, response: 0 }, fingerprint: 'md5', queryAllow: [] });

const body = Buffer.from('{"model":"x","messages":[]}');
const usual: RawRecord = {
  intent: false, isRecorded: true, isLined: true, id: '019aa000-0000-7000-8000-000000000001', time: 1_763_700_000_000, method: 'POST', url: '/v1/chat/completions', httpVersion: '1.1', ip: '192.0.2.1', forwardedFor: '',
  status: 200, duration: 12, outcome: 'served', device: 'd'.repeat(64), tokenId: 'a'.repeat(16), tokenMask: 'sk-…abcd', token: null, key: null, userId: null, ja4: null, country: null, model: 'gpt-4o', stream: false, target: 'newapi', attempts: 1,
  upstreamRequestId: null, queueWait: 0, firstByte: null, overhead: null, prompt: null, completion: null, cached: null, reasoning: null, estimated: false, reserved: null, settled: null, cost: null, bytesIn: 1, bytesOut: 1, rules: null,
  route: '/v1/chat/completions', class: 'model', answerType: null, answerEncoding: null, source: 'gate', headers: ['User-Agent', 'curl/8', 'Authorization', 'Bearer sk-plainwords'], cookies: null, body: [body], outline: null, bodyTotal: body.length,
  answer: null, answerTotal: 0, fingerprint: null,
};
const raw = (more: Partial<RawRecord> = {}): RawRecord => ({ ...usual, ...more });

describe('a draft', () => {
  it('has a value for every column, in their order', () => {
    const draft = drafter().build(raw());
    assert.deepEqual(Object.keys(draft).sort(), [...names].sort());
    const numbered = Object.fromEntries(names.map((name, at) => [name, at])) as RecordRow;
    assert.deepEqual(valuesOf(numbered), names.map((_, at) => at));
    // The chain has a bit for each.
    assert.ok(parts.plain.length < 32);
    assert.deepEqual(columns.map(({ part }) => part), columns.map(({ part }) => part).sort((a, b) => ['plain', 'private', 'body'].indexOf(a) - ['plain', 'private', 'body'].indexOf(b)));
  });

  it('holds the caller’s credential nowhere, whoever sent the same headers before', () => {
    const same = drafter();
    const said = (key: string): RawRecord => raw({ headers: ['User-Agent', 'agent one-of-two-keys', 'Authorization', `Bearer ${key}`], url: `/v1/${key}`, model: key, body: [Buffer.from(`{"a":"${key} the-configured-secret"}`)] });
    for (const key of ['two-of-two-keys', 'one-of-two-keys', 'two-of-two-keys', 'one-of-two-keys']) {
      const draft = same.build(said(key));
      assert.ok(!JSON.stringify(draft).includes(key), key);
      assert.ok(!JSON.stringify(draft).includes('configured'));
      assert.equal(draft.user_agent, key === 'one-of-two-keys' ? `agent ${masked}` : 'agent one-of-two-keys');
      assert.equal(draft.request_headers, JSON.stringify({ 'user-agent': draft.user_agent }));
    }
  });

  it('reads a body in pieces as one in one piece, whatever came before it', () => {
    const same = drafter();
    const texts = ['the question of the first', 'a second, longer question by far '.repeat(20), 'short'];
    for (const said of texts) {
      const bytes = Buffer.from(JSON.stringify({ model: 'x', messages: [{ role: 'system', content: 'rules '.repeat(300) }, { role: 'user', content: said }] }));
      const whole = raw({ body: [bytes], bodyTotal: bytes.length });
      const [a, b] = [drafter().build(whole), same.build({ ...whole, body: [bytes.subarray(0, 100), bytes.subarray(100, 250), bytes.subarray(250)] })];
      assert.deepEqual(b, a);
      assert.ok(String(b.request_body).includes(said));
    }
  });

  it('names the same session for the same caller, and another for another', () => {
    const same = drafter();
    const callers = ['a', 'b', null].flatMap((tokenId) => ['192.0.2.1', '192.0.2.2'].flatMap((ip) => ['d', 'e'].map((device) => raw({ tokenId, ip, device }))));
    const sessions = callers.map((caller) => same.build(caller).session);
    assert.equal(new Set(sessions).size, callers.length);
    assert.deepEqual(callers.map((caller) => same.build(caller).session), sessions);
    assert.deepEqual(callers.map((caller) => drafter().build(caller).session), sessions);
    const [one, other] = ['session=x', 'session=y'].map((cookie) => same.build(raw({ headers: ['Cookie', cookie] })).session);
    assert.notEqual(one, other);
    assert.ok(!sessions.includes(one as string));
  });

  it('keeps nothing of the batch it came with', () => {
    const same = drafter();
    const used = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = used();
    for (let at = 0; at < 60; at++) {
      const cut = (text: string): string => `${'s'.repeat(1_000_000)}${text} of some length ${at}`.slice(1_000_000);
      const headers = ['User-Agent', cut('agent'), 'Accept', cut('type'), cut('X-Name'), cut('value'), 'Referer', cut('/path'), 'Content-Type', cut('text/plain'), 'Authorization', cut('Bearer')];
      same.build(raw({ headers, url: cut('/path'), model: cut('model'), device: cut('device'), tokenId: cut('token'), ip: cut('address'), ja4: cut('ja4'), upstreamRequestId: cut('id') }));
      same.build(raw({ headers, tokenId: cut('token'), ip: '192.0.2.1', device: null }));
    }
    assert.ok(used() - before < 10_000_000, String(used() - before));
  });
});
