import assert from 'node:assert/strict';
import { it } from 'node:test';
import { behind, keyed, listed } from '../middlewares/behind.ts';

it('takes no realtime call whose query names another model to some receiver', async (t) => {
  const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, models: ['allowed'], upstreamCredential: 'sk-granted-by-newapi' }] } });
  const refused = [
    '?model=forbidden', '?model=allowed&model=forbidden', '?model=forbidden&model=allowed', '?model=allowed&model=', '?model=allowed&%6dodel=forbidden', '?mode%6c=allowed&model=forbidden',
    '?model=allowed&x=1&model=FORBIDDEN', '?model=allowed&model=allowed&model=forbidden', '?model=allowed&model=allowed%20', '?model=&model=allowed', '?model', '',
  ];
  for (const query of refused) assert.ok([400, 403].includes((await ask(`/v1/realtime${query}`, { headers: keyed })).status), query);
  assert.equal(seen.length, 0);
  for (const query of ['?model=allowed', '?model=allowed&model=allowed', '?x=forbidden&model=%61llowed']) assert.equal((await ask(`/v1/realtime${query}`, { headers: keyed })).status, 200, query);
});
