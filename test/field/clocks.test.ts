import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Clock } from '../../types/clock.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import { Findings } from '../../lib/anomaly/findings.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { GatewayKeys, VerifiedTokens } from '../../lib/keys/store.ts';
import { MemoryStore } from '../../lib/limits/memory-store.ts';
import { WindowCounts } from '../../lib/limits/window-counts.ts';
import { Calendar } from '../../lib/platform/clock.ts';
import type { Core } from '../../lib/request/request.ts';
import { TargetState } from '../../lib/upstream/breaker.ts';
import { closing, openStream, request, until } from '../support/client.ts';
import { fakeClock, realClock, type FakeClock } from '../support/clock.ts';
import { recorder, startGate, temporary } from '../support/gate.ts';
import { journalOf, recorded } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { hold } from '../registry/tools.ts';
import { chargesOf, ruleOf } from '../limits/charges.ts';

const second = 1000;
const hour = 3600 * second;
const day = 24 * hour;
/** What operators, virtual machines and NTP do to a clock. */
const jumps: Readonly<Record<string, number>> = { '30 s ahead': 30 * second, '30 s back': -30 * second, '1 h ahead': hour, '1 h back': -hour, '45 days ahead': 45 * day, '45 days back': -45 * day };

/** What lasts a time: it must hold just before its end and be over just after it, wherever the calendar has jumped meanwhile. */
interface Lasting {
  readonly lasts: number;
  begin(clock: FakeClock): () => boolean;
}

const lasting: Readonly<Record<string, Lasting>> = {
  'an open breaker': {
    lasts: 10 * second,
    begin(clock) {
      const { base } = new TargetState({ maxRequests: 1, interval: 30 * second, timeout: 10 * second, failureThreshold: 1 }, () => clock.monotonic(), false, () => undefined);
      base.leave(base.enter(clock.monotonic()), 'fail', clock.monotonic());
      return () => base.closedUntil(clock.monotonic()) > clock.monotonic();
    },
  },
  'a verified token': {
    lasts: hour,
    begin(clock) {
      const tokens = new VerifiedTokens(clock, hour);
      tokens.accept('token');
      return () => tokens.has('token');
    },
  },
  'a window of requests': {
    lasts: 6 * second,
    begin(clock) {
      const [store, rule] = [new MemoryStore(clock, null), ruleOf({ kind: 'requests', limit: 1, window: 6 * second })];
      const take = (): boolean => store.take(chargesOf('caller', [[rule, 1]])) === 'taken';
      assert.ok(take());
      return () => !take();
    },
  },
  'the window of an address': {
    lasts: 60 * second,
    begin(clock) {
      const counts = new WindowCounts();
      counts.hit('192.0.2.1', clock.monotonic(), 60 * second);
      return () => counts.hit('192.0.2.1', clock.monotonic(), 60 * second).hits > 1;
    },
  },
  'a gateway key': {
    lasts: 30 * 60 * second,
    begin(clock) {
      const [key, expires] = ['sk-a-key-of-more-than-thirty-two-letters', new Date(clock.now() + 30 * 60 * second).toISOString()];
      const keys = new GatewayKeys(clock, resolveConfig({ auth: { keys: [{ name: 'team', sha256: createHash('sha256').update(key).digest('hex'), expires }] } }).auth.keys);
      return () => keys.find(key, '192.0.2.1') !== 'expired';
    },
  },
};

for (const [what, { lasts, begin }] of Object.entries(lasting)) {
  for (const [jump, by] of Object.entries(jumps)) {
    it(`${what} lasts as long as it should with a clock that is set ${jump}`, () => {
      const clock = fakeClock(Date.UTC(2026, 5, 15));
      const holds = begin(clock);
      clock.tick(lasts / 2);
      clock.jump(by);
      assert.ok(holds());
      clock.tick(lasts / 2 - 5);
      assert.ok(holds(), 'it is over too early');
      clock.tick(10);
      assert.ok(!holds(), 'it lasts too long');
    });
  }
}

it('a ban in memory ends by what has passed, not by a clock that jumps', async (t) => {
  const clock = fakeClock(Date.UTC(2026, 5, 15));
  const { registry } = await hold(t, temporary(t), { clock });
  await registry.ban({ value: '192.0.2.1', reason: 'test', expires: clock.now() + hour / 2 });
  for (const by of Object.values(jumps)) {
    clock.jump(by);
    assert.equal(registry.inForce.isEmpty, false);
    clock.jump(-by);
  }
  clock.jump(-45 * day);
  clock.tick(hour / 2 + 1);
  assert.equal(registry.inForce.isEmpty, true);
});

it('an action of the watch ends by what has passed, not by a clock that jumps', async (t) => {
  const clock = fakeClock(Date.UTC(2026, 5, 15));
  const { registry } = await hold(t, temporary(t), { clock });
  const findings = new Findings({ config: resolveConfig({ anomaly: { mode: 'enforce' } }), clock, log: recorder() } as unknown as Core, registry);
  await findings.report({ rule: 'shared_key', subject: { kind: 'key', id: 'team' }, score: 90, reason: 'devices_in_turn', most: 'freeze', baseline: {}, evidence: { records: ['r'], requests: 1, devices: 2, networks: 1, sessions: 2 }, since: clock.now(), last: clock.now() });
  const [found] = findings.list();
  assert.ok(found !== undefined);
  await findings.act(found.id, 'freeze', clock.now() + hour / 2, 'by hand');
  const action = (): string | undefined => registry.restraints.ofCaller('team', null)?.action;
  for (const by of Object.values(jumps)) {
    clock.jump(by);
    assert.deepEqual([action(), findings.get(found.id).action], ['freeze', 'freeze']);
    clock.jump(-by);
  }
  clock.jump(-45 * day);
  clock.tick(hour / 2 + 1);
  assert.deepEqual([action(), findings.get(found.id).action], [undefined, 'none']);
});

describe('the calendar', () => {
  it('believes a jump after an hour of steady time, and a clock that creeps at once', () => {
    const clock = fakeClock();
    const calendar = new Calendar(clock);
    const start = clock.now();
    clock.jump(45 * day);
    assert.equal(calendar.now(), start);
    clock.tick(hour - 1);
    assert.equal(calendar.now(), start + hour - 1);
    clock.jump(5 * second);
    clock.tick(second);
    assert.equal(calendar.now(), start + hour - 1 + second, 'the hour begins anew');
    clock.tick(hour);
    assert.equal(calendar.now(), clock.now());
    for (let nth = 0; nth < 100; nth++) {
      clock.jump(500);
      clock.tick(10 * second);
      assert.equal(calendar.now(), clock.now());
    }
  });
});

it('streams, requests that wait and the admin’s event stream outlive every jump, and a drain takes no longer', async (t) => {
  let ahead = 0;
  const clock: Clock = { ...realClock, now: () => Date.now() + ahead };
  const newapi = closing(t, await startNewapi({ chunks: 60, pace: 10 }));
  const token = 'an-admin-token-of-more-than-thirty-two-letters';
  const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, server: { readTimeout: '20s', writeTimeout: '20s' } }, { clock });
  const headers = { Authorization: `Bearer ${DEMO_KEY}` };
  const body = { model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'a few words' }] };
  const events = await openStream(`${url}/heimdall/api/events`, { headers: { Authorization: `Bearer ${token}` } });
  const stream = await openStream(`${url}/v1/chat/completions`, { headers, body });
  const waiting = request(`${url}/v1/chat/completions`, { headers, body: { ...body, stream: false } });
  for (const by of Object.values(jumps)) {
    const seen = stream.chunks.length;
    ahead = by;
    await until(() => stream.chunks.length > seen || stream.complete);
  }
  await stream.done;
  assert.deepEqual([stream.complete, stream.text.endsWith('data: [DONE]\n\n'), (await waiting).status, events.error], [true, true, 200, undefined]);
  ahead = -hour;
  const began = performance.now();
  const late = openStream(`${url}/v1/chat/completions`, { headers, body });
  await until(() => newapi.requests.length >= 3);
  const closed = gate.close({ timeout: 15_000 });
  ahead = -day;
  assert.equal((await late).status, 200);
  await closed;
  assert.ok(performance.now() - began < 15_000);
});

describe('retention', () => {
  it('removes nothing by a clock that has jumped, says what it would remove, and believes it after an hour', async (t) => {
    const clock = fakeClock();
    const gate = await startGate(t, { audit: { path: join(temporary(t), 'heimdall.db') } }, { clock });
    const journal = journalOf(gate.gate) as Journal & { retain(): Promise<void> };
    await request(`${gate.url}/old`);
    await journal.retain();
    clock.jump(45 * day);
    await journal.retain();
    assert.equal((await recorded(gate.gate)).length, 1);
    assert.deepEqual(gate.log.named('journal.retention_waits').map(({ records }) => records), [1]);
    clock.tick(hour / 2);
    await journal.retain();
    assert.equal((await recorded(gate.gate)).length, 1);
    clock.tick(hour / 2 + second);
    await journal.retain();
    assert.deepEqual(await recorded(gate.gate), []);
    assert.equal(gate.log.named('journal.retention_waits').length, 1);
  });

  it('waits for an hour after a start whose clock is days behind the last record, also after a second start', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const first = await startGate(t, { audit: { path } }, { clock: fakeClock() });
    await request(`${first.url}/old`);
    await first.gate.close();
    for (let start = 0; start < 2; start++) {
      const clock = fakeClock(Date.UTC(2026, 0, 5) + 45 * day);
      const gate = await startGate(t, { audit: { path } }, { clock });
      const journal = journalOf(gate.gate) as Journal & { retain(): Promise<void> };
      await request(`${gate.url}/new`);
      await journal.retain();
      assert.equal((await recorded(gate.gate)).length, 2 + start);
      assert.equal(gate.log.named('journal.retention_waits').length, 1);
      if (start === 0) await gate.gate.close();
      else {
        clock.tick(hour);
        await journal.retain();
        assert.deepEqual((await recorded(gate.gate)).map((row) => row['request_path']), ['/new', '/new']);
      }
    }
  });

  it('removes what a clock that was ahead has written, with what follows it', async (t) => {
    const clock = fakeClock();
    const gate = await startGate(t, { audit: { path: join(temporary(t), 'heimdall.db') } }, { clock });
    const journal = journalOf(gate.gate) as Journal & { retain(): Promise<void> };
    await journal.open();
    for (const ahead of [90 * day, 0]) {
      clock.jump(ahead);
      await request(`${gate.url}/${ahead}`);
      await journal.flush();
      clock.jump(-ahead);
    }
    await journal.retain();
    clock.tick(31 * day);
    await journal.retain();
    assert.deepEqual(await recorded(gate.gate), []);
  });
});
