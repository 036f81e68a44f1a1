import '../support/node.ts';
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import { redisOf, scriptOf, type Redis } from '../../lib/platform/redis.ts';
import { until } from '../support/client.ts';
import { recorder, type Recorder } from '../support/gate.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';

let server: TestRedis;

before(async () => {
  if (!withoutRedis) server = await startRedis();
});
after(() => server?.close());
beforeEach(() => server?.renew());

function connect(t: TestContext): { readonly redis: Redis; readonly log: Recorder } {
  const config = resolveConfig({ secret: 'the-install-secret-of-these-tests', rateLimit: { redisUrl: server.url } });
  const log = recorder();
  const redis = redisOf(config, log) as Redis;
  t.after(() => redis.close());
  return { redis, log };
}

const echo = scriptOf('return {KEYS[1], ARGV[1]}');

it('is not there where none is configured', () => {
  assert.equal(redisOf(resolveConfig({}), recorder()), null);
});

describe('the connection to Redis', { skip: withoutRedis }, () => {
  it('runs commands and scripts, those that Redis does not know yet too', async (t) => {
    const { redis } = connect(t);
    assert.equal(await redis.send('SET', 'a', '1'), 'OK');
    await server.command('SCRIPT', 'FLUSH');
    for (let n = 0; n < 2; n++) assert.deepEqual(await redis.run(echo, ['a'], ['b']), ['a', 'b']);
    await assert.rejects(redis.run(scriptOf("return redis.error_reply('NO')"), [], []), /NO/);
  });

  it('fails at once while Redis is away, says so once, and is back by itself', async (t) => {
    const { redis, log } = connect(t);
    await redis.send('PING');
    await server.kill();
    await until(() => log.named('redis.lost').length === 1);
    for (let n = 0; n < 5; n++) await assert.rejects(redis.send('PING'));
    await server.restart();
    await until(async () => (await redis.send('PING').catch(() => null)) === 'PONG');
    await until(() => log.named('redis.back').length === 1);
    assert.equal(log.named('redis.lost').length, 1);
  });

  it('waits no longer than a while for an answer, and hands over one that comes later', async (t) => {
    const { redis } = connect(t);
    await redis.run(echo, ['a'], ['b']);
    const late: unknown[] = [];
    server.freeze();
    t.after(() => server.thaw());
    await assert.rejects(redis.run(echo, ['a'], ['b'], (reply) => late.push(reply)), /in time/);
    server.thaw();
    await until(() => late.length === 1);
    assert.deepEqual(late, [['a', 'b']]);
  });

  it('does not take an answer that has arrived for one that is late, however busy the process is', async (t) => {
    const { redis } = connect(t);
    await redis.send('PING');
    const asked = redis.send('PING');
    await new Promise((resolve) => setImmediate(resolve));
    for (const end = performance.now() + 700; performance.now() < end; );
    assert.equal(await asked, 'PONG');
  });

  it('takes nothing any more once it is closed', async (t) => {
    const { redis, log } = connect(t);
    await redis.send('PING');
    await redis.close();
    await assert.rejects(redis.send('PING'), /closed/);
    assert.deepEqual(log.events, []);
  });
});
