import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { internalsOf } from '../../lib/gateway.ts';
import type { Logger, Sink } from '../../lib/index.ts';
import { guard, guardedClock, inBackground, Repeated } from '../../lib/platform/platform.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, startGate } from '../support/gate.ts';
import { startNewapi } from '../support/newapi.ts';
import { shared } from '../support/shared.ts';
import { handshake, refused } from '../support/websocket.ts';

const fails = (): never => {
  throw new Error('thrown in a test');
};
const rejects = async (): Promise<never> => fails();
/** What Node and libraries have to do when a promise settles. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a callback outside requests', () => {
  const ways: Readonly<Record<string, (log: Logger) => void>> = {
    'a listener that throws': (log) => guard(log, 'test', fails)(),
    'a listener that rejects': (log) => guard(log, 'test', rejects)(),
    'a listener that throws what is no error': (log) => guard(log, 'test', () => {
      const nothing: unknown = null;
      throw nothing;
    })(),
    'a listener whose release throws too': (log) => guard(log, 'test', fails, fails)(),
    'a promise nobody waits for': (log) => inBackground(log, 'test', rejects()),
    'a timer that throws': (log) => tick(log, fails),
    'a timer that rejects': (log) => tick(log, rejects),
    'repeated work that throws': (log) => repeat(log, fails),
    'repeated work that rejects': (log) => repeat(log, rejects),
    'repeated work that throws at once': (log) => new Repeated({ log, clock: fakeClock() }, 'test', 10, fails).startNow(),
  };
  for (const [name, run] of Object.entries(ways)) {
    it(`ends nothing and is said once: ${name}`, async () => {
      const log = recorder();
      run(log);
      await settle();
      assert.deepEqual(log.events.map(({ level, event }) => [level, event]), [['error', 'callback.failed']]);
    });
  }

  function tick(log: Logger, callback: () => unknown): void {
    const clock = fakeClock();
    guardedClock(clock, log).setTimeout(callback, 5);
    clock.tick(5);
  }

  function repeat(log: Logger, work: () => unknown): void {
    const clock = fakeClock();
    new Repeated({ log, clock }, 'test', 5, work).start();
    clock.tick(5);
  }

  it('is said again when it has succeeded in between, and goes on', async () => {
    const log = recorder();
    const clock = fakeClock();
    let isBad = true;
    let runs = 0;
    new Repeated({ log, clock }, 'test', 5, async () => {
      runs++;
      if (isBad) fails();
    }).start();
    for (const bad of [true, true, false, true]) {
      isBad = bad;
      clock.tick(5);
      await settle();
    }
    assert.deepEqual([runs, log.named('callback.failed').length], [4, 2]);
  });

  it('gives back what it held', () => {
    const given: unknown[] = [];
    guard(recorder(), 'test', fails as (what: string) => never, (what) => void given.push(what))('a socket');
    assert.deepEqual(given, ['a socket']);
  });
});

describe('a gate', () => {
  const scene = shared(async (scope) => {
    const api = closing(scope, await startNewapi());
    const sink: Sink = { name: 'bad', batch: 10, deliver: fails, checkpoint: fails, close: fails };
    const running = await startGate(scope, { newapi: { baseUrl: api.url } }, { sinks: [sink] });
    const { core, journal } = internalsOf(running.gate);
    const works = async (): Promise<void> => assert.equal((await request(`${running.url}/health`)).status, 200);
    return { ...running, core, journal, works };
  });

  it('lives with a log that throws', async () => {
    const { core, works } = await scene();
    for (const level of ['debug', 'info', 'warn', 'error'] as const) core.log[level]({ get broken() {
      return fails();
    } }, 'test');
    await works();
  });

  it('lives with a listener of the journal that throws, and calls the others', async () => {
    const { journal, url, works } = await scene();
    let called = 0;
    const ends = [journal.onWritten(fails), journal.onWritten(() => void called++)];
    await works();
    await request(`${url}/api/status`);
    await until(() => called > 0);
    for (const end of ends) end();
  });

  for (const method of ['abort', 'look', 'outlives'] as const) {
    it(`lives with an exchange that throws in ${method}, and gives back its request`, async () => {
      const { core, port, works } = await scene();
      const before = core.inFlight.size;
      const client = connect(port, '127.0.0.1').on('error', () => undefined);
      client.write(`POST /v1/chat/completions?${method} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{`);
      const context = await until(() => [...core.inFlight].find(({ query }) => query === `?${method}`) ?? null);
      context.exchange = { abort: () => undefined, look: () => undefined, [method]: fails };
      client.destroy();
      await until(() => core.inFlight.size === before);
      await works();
    });
  }

  it('lives with an upgrade whose handler throws', async () => {
    const { server, port, works } = await scene();
    const listener = (req: { url?: string }): void => void (req.url === '/broken' && fails());
    server.prependListener('request', listener);
    const answer = await refused(port, handshake('/broken'));
    server.off('request', listener);
    assert.equal(answer.text, '');
    await works();
  });

  it('closes what is left when something does not close', async () => {
    const api = closing({ after: () => undefined }, await startNewapi());
    const ends: (() => unknown)[] = [];
    const { gate, log } = await startGate({ after: (end) => void ends.push(end) }, { newapi: { baseUrl: api.url } }, { sinks: [{ name: 'bad', batch: 1, deliver: fails, close: fails }] });
    await gate.ready;
    await gate.close({ timeout: 0 });
    for (const end of ends.toReversed()) await end();
    await api.close();
    assert.equal(log.named('journal.failed').length, 0);
  });
});
