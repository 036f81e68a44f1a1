import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/request/context.ts';
import type { Core } from '../../lib/request/context.ts';
import { bearer, BearerGuard } from '../../lib/keys/bearer-guard.ts';
import { ownRoute } from '../../lib/request/own-route.ts';
import type { AddressLimitInput } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { recorder, type Recorder } from '../support/gate.ts';

const token = 'a-token-of-a-guard';

function guardOf(t: TestContext, address: AddressLimitInput): { readonly log: Recorder; check(authorization: string | undefined, ip?: string): Promise<string | null> } {
  const log = recorder();
  const guard = new BearerGuard({ config: resolveConfig({ rateLimit: { address } }, {}), log } as unknown as Core, [token], 'guard.failed');
  t.after(() => guard.close());
  return {
    log,
    async check(authorization, ip = '192.0.2.1') {
      const context = { id: 'r', ip, route: ownRoute('/x'), req: { headers: { authorization } } } as unknown as Context;
      return (await guard.check(context))?.code ?? null;
    },
  };
}

const good = `Bearer ${token}`;

it('a guard opens to its token alone, however the scheme is written', async (t) => {
  const { check, log } = guardOf(t, {});
  for (const header of [good, `bearer ${token}`, `BEARER ${token}`]) assert.equal(await check(header), null);
  for (const header of [undefined, '', token, `Bearer${token}`, `Bearer  ${token}`, `Bearer ${token} `, `Bearer ${token.toUpperCase()}`, `Token ${token}`]) assert.equal(await check(header), 'unauthorized', header);
  assert.equal(log.named('guard.failed').length, 8);
  assert.deepEqual(log.named('guard.failed')[0], { requestId: 'r', ip: '192.0.2.1', path: '/x' });
});

it('a guard limits failures by network, and lets nobody of it in until they are forgotten', async (t) => {
  const { check } = guardOf(t, { limit: 2, window: '60ms' });
  for (const ip of ['2001:db8::1', '2001:db8:0:ff::2']) assert.equal(await check('Bearer wrong', ip), 'unauthorized');
  assert.deepEqual([await check('Bearer wrong', '2001:db8::3'), await check(good, '2001:db8::4')], ['too_many_failures', 'too_many_failures']);
  assert.equal(await check(good, '2001:db8:0:100::1'), null);
  await until(async () => (await check(good, '2001:db8::4')) === null);
});

it('a guard has a limit of its own where the address limit is off or counts everything', async (t) => {
  for (const address of [{ limit: 0 }, { limit: 5000, count: 'all' }] as const) {
    const { check } = guardOf(t, address);
    for (let n = 0; n < 60; n++) assert.equal(await check('Bearer wrong'), 'unauthorized');
    assert.equal(await check('Bearer wrong'), 'too_many_failures');
  }
});

it('a bearer token is what stands behind the scheme', () => {
  assert.deepEqual([bearer('Bearer x y'), bearer('bearer x'), bearer('Bearer '), bearer('x'), bearer(undefined)], ['x y', 'x', null, null, null]);
});
