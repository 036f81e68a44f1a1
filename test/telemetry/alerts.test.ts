import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import type { AlertFormat } from '../../types/config.d.ts';
import { resolveConfig } from '../../lib/config/config.ts';
import { alertsOf, type Alerts } from '../../lib/telemetry/alerts.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, type Recorder } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

interface Received {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly alert: Readonly<Record<string, unknown>>;
}

interface Heard {
  readonly alerts: Alerts;
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly received: readonly Received[];
}

/** @param statuses what the webhook answers, in turn; then 204. */
async function webhook(t: TestContext, statuses: number[] = [], secret: string | null = null, format: AlertFormat = 'json', answers: string[] = []): Promise<Heard> {
  const received: Received[] = [];
  const { url } = await startUpstream(t, (req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += String(chunk))).on('end', () => {
      received.push({ url: String(req.url), headers: req.headers, body, alert: JSON.parse(body) as Record<string, unknown> });
      const said = answers.shift();
      if (said === undefined) res.writeHead(statuses.shift() ?? 204).end();
      else res.writeHead(200).end(said);
    });
  });
  const clock = fakeClock();
  const log = recorder();
  const alerts = alertsOf({ webhook: `${url}/hook?token=t1&chat_id=-7`, secret, format }, clock, log) as Alerts;
  t.after(() => alerts.close());
  return { alerts, clock, log, received };
}

describe('alerts', () => {
  it('tell of the events marked so, and of no others', async (t) => {
    const { alerts, received } = await webhook(t);
    alerts.listener('warn', { requestId: 'r' }, 'auth.failed');
    alerts.listener('warn', { target: 'openai', state: 'open' }, 'target.open');
    await until(() => received.length === 1);
    assert.deepEqual(received.map(({ alert }) => [alert['event'], alert['level'], alert['at'], alert['fields']]), [
      ['target.open', 'warn', '2026-01-05T00:00:00.000Z', { target: 'openai', state: 'open' }],
    ]);
    assert.equal(received[0]?.headers['x-heimdall-signature'], undefined);
  });

  it('are said once a while for each subject, and when they are over', async (t) => {
    const { alerts, clock, received } = await webhook(t);
    const open = (target: string): void => alerts.listener('warn', { target }, 'target.open');
    alerts.listener('warn', { target: 'a' }, 'target.up');
    open('a');
    open('a');
    open('b');
    alerts.listener('warn', { target: 'a' }, 'target.up');
    alerts.listener('warn', { target: 'a' }, 'target.up');
    open('b');
    clock.tick(300_000);
    open('b');
    await until(() => received.length === 4);
    assert.deepEqual(received.map(({ alert }) => `${alert['event'] as string} ${(alert['fields'] as { target: string }).target}`), ['target.open a', 'target.open b', 'target.up a', 'target.open b']);
  });

  it('are signed over time and body', async (t) => {
    const { alerts, received } = await webhook(t, [], 'a secret of both');
    alerts.listener('error', {}, 'redis.lost');
    await until(() => received.length === 1);
    const [, time, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(received[0]?.headers['x-heimdall-signature'])) ?? [];
    assert.equal(time, String(Date.UTC(2026, 0, 5) / 1000));
    assert.equal(signature, createHmac('sha256', 'a secret of both').update(`${time}.${received[0]?.body}`).digest('hex'));
  });

  it('are tried again in their order, then given up with an event', async (t) => {
    const { alerts, clock, log, received } = await webhook(t, [500, 500, 200, 404, 404, 404, 404]);
    alerts.listener('error', {}, 'redis.lost');
    alerts.listener('warn', { target: 'a' }, 'target.open');
    for (const wait of [1000, 5000]) {
      const before = received.length;
      await until(() => clock.pending === 1);
      clock.tick(wait);
      await until(() => received.length > before);
    }
    for (const wait of [1000, 5000, 25_000]) {
      await until(() => clock.pending === 1);
      clock.tick(wait);
    }
    await until(() => log.named('alert.failed').length === 1);
    assert.deepEqual(received.map(({ alert }) => alert['event']), ['redis.lost', 'redis.lost', 'redis.lost', ...Array<string>(4).fill('target.open')]);
    assert.match(JSON.stringify(log.named('alert.failed')), /the webhook answered 404/);
    assert.equal(clock.pending, 0);
  });

  it('end with the gate', async (t) => {
    const { alerts, clock, received } = await webhook(t, [500]);
    alerts.listener('error', {}, 'redis.lost');
    await until(() => clock.pending === 1);
    alerts.close();
    assert.equal(clock.pending, 0);
    alerts.listener('warn', { target: 'a' }, 'target.open');
    assert.equal(received.length, 1);
  });
});

describe('alerts for a chat service', () => {
  const secret = 'SEC0123456789abcdef';
  const now = Date.UTC(2026, 0, 5);
  const hmac = (key: string, text: string): string => createHmac('sha256', key).update(text).digest('base64');
  const text = (sign: string, and: string): RegExp => new RegExp(`^\\[warn\\] the watch found a caller .*\nfinding\\.raised · .+ · 2026-01-05T00:00:00\\.000Z\nrule: shared_key\ncaller: a${sign}!channel> ${and} b$`);
  const plain = text('<', '&');
  const feishu = String(now / 1000);
  /** What is sent beside the text, where the text is, the text, and the signature in the query. */
  const cases: readonly (readonly [format: AlertFormat, rest: object, at: readonly string[], text: RegExp, query: Readonly<Record<string, string>>])[] = [
    ['slack', {}, ['text'], new RegExp(text('&lt;', '&amp;').source.replace('channel>', 'channel&gt;')), {}],
    ['feishu', { msg_type: 'text', timestamp: feishu, sign: hmac(`${feishu}\n${secret}`, '') }, ['content', 'text'], text('＜', '&'), {}],
    ['dingtalk', { msgtype: 'text' }, ['text', 'content'], plain, { timestamp: String(now), sign: hmac(secret, `${now}\n${secret}`) }],
    ['wecom', { msgtype: 'text' }, ['text', 'content'], plain, {}],
    ['telegram', { chat_id: '-7', disable_web_page_preview: true }, ['text'], plain, {}],
  ];
  for (const [format, rest, at, expected, query] of cases) {
    it(`${format}: has the form of its messages`, async (t) => {
      const { alerts, received } = await webhook(t, [], secret, format);
      alerts.listener('warn', { rule: 'shared_key', caller: 'a<!channel> & b', would: null }, 'finding.raised');
      await until(() => received.length === 1);
      const { alert, url } = received[0] as Received;
      let said: unknown = alert;
      for (const name of at) said = (said as Record<string, unknown>)[name];
      assert.match(String(said), expected);
      assert.deepEqual(Object.fromEntries(Object.entries(alert).filter(([name]) => name !== at[0])), rest);
      assert.deepEqual(Object.fromEntries(new URL(url, 'http://local').searchParams), { token: 't1', chat_id: '-7', ...query });
    });
  }

  for (const [format, answer, problem] of [['feishu', '{"code":19021,"msg":"sign match fail"}', 'code 19021'], ['dingtalk', '{"errcode":310000,"errmsg":"keywords"}', 'errcode 310000'], ['wecom', '{"errcode":93000}', 'errcode 93000'], ['telegram', '{"ok":false}', 'ok false']] as const) {
    it(`${format}: what it refuses with 200 is tried again, and the event names neither address nor secret`, async (t) => {
      const { alerts, clock, log, received } = await webhook(t, [], secret, format, Array<string>(4).fill(answer));
      alerts.listener('error', {}, 'redis.lost');
      for (const wait of [1000, 5000, 25_000]) {
        await until(() => clock.pending === 1);
        clock.tick(wait);
      }
      await until(() => log.named('alert.failed').length === 1);
      assert.equal(received.length, 4);
      const said = JSON.stringify(log.events);
      assert.ok(said.includes(`the webhook answered ${problem}`), said);
      assert.doesNotMatch(said, /token=t1|SEC0123|\/hook/);
    });
  }

  it('telegram: the URL names the chat', () => {
    const configured = (webhookUrl: string): unknown => resolveConfig({ audit: { alerts: { format: 'telegram', webhook: webhookUrl } } });
    assert.throws(() => configured('https://api.telegram.org/bot12:secret/sendMessage'), (error: Error) => /audit\.alerts\.webhook: expected a URL with the query chat_id/.test(error.message) && !error.message.includes('12:secret'));
    configured('https://api.telegram.org/bot12:secret/sendMessage?chat_id=1');
  });
});
