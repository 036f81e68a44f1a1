import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { problem, startAdmin, type AdminHarness } from './harness.ts';
import type { TestContext } from 'node:test';
import type { AdminConfig } from '../../types/config.d.ts';

interface User {
  readonly id: number;
  readonly role: number;
  status: number;
}

/** Users by their session, which is `s-ID`, or access token, `a-ID`. */
async function start(t: TestContext, admin: Partial<AdminConfig> = {}) {
  const users: User[] = [{ id: 1, role: 100, status: 1 }, { id: 2, role: 10, status: 1 }, { id: 3, role: 1, status: 1 }];
  const asked: (readonly string[])[] = [];
  let down = false;
  const clock = fakeClock();
  const harness = await startAdmin(t, { admin: { token: null, auth: 'newapi', ...admin } }, {
    clock,
    newapi: async (path, headers) => {
      asked.push([path, ...headers]);
      if (down) throw new Error('refused');
      const sent = headers[headers.indexOf('new-api-user') + 1];
      const credential = headers[3]?.replace('session=', '').replace('Bearer ', '');
      const user = users.find(({ id }) => credential === `s-${id}` || credential === `a-${id}`);
      if (user === undefined || String(user.id) !== sent) return { status: user === undefined ? 401 : 200, body: { success: false } };
      return { status: 200, body: { success: true, data: { ...user, username: `user${user.id}` } } };
    },
  });
  return { ...harness, users, asked, clock, fall: () => (down = true) };
}

const session = (id: number | string, user = id): Record<string, string> => ({ Cookie: `theme=dark; session=s-${id}`, 'New-Api-User': String(user) });
const ask = ({ ask: get }: Pick<AdminHarness, 'ask'>, headers: Readonly<Record<string, string>>, path = 'keys') => get(path, { headers });

it('an administrator of NewAPI enters by session or access token, and nobody else', async (t) => {
  const scene = await start(t);
  for (const headers of [session(1), session(2), { Authorization: 'a-1', 'New-Api-User': '1' }, { Authorization: 'Bearer a-2', 'New-Api-User': '2' }]) assert.equal((await ask(scene, headers)).status, 200);
  assert.deepEqual((await ask(scene, session(1), 'session')).json(), { auth: 'newapi', access: 'full', expires: null, user: { id: 1, username: 'user1', role: 100 } });
  assert.deepEqual(scene.asked[0], ['/api/user/self', 'new-api-user', '1', 'cookie', 'session=s-1', 'x-forwarded-for', '127.0.0.1', 'x-real-ip', '127.0.0.1']);
  assert.deepEqual(problem(await ask(scene, session(3))), [403, 'newapi_role', null]);
  for (const headers of [{}, { Cookie: 'session=s-1' }, { 'New-Api-User': '1' }, session(1, 2), session(9), { Authorization: 'a-9', 'New-Api-User': '1', Cookie: 'session=s-1' }, session(1, '1, 2')]) assert.equal((await ask(scene, headers)).status, 401, JSON.stringify(headers));
  assert.equal((await ask(scene, { ...session(1), Origin: 'http://evil.example' })).status, 403, 'not even a look from elsewhere');
  const owner = await start(t, { newapiRole: 100 });
  assert.deepEqual([(await ask(owner, session(1))).status, (await ask(owner, session(2))).status], [200, 403]);
});

it('a verdict counts for half a minute, so a disabled administrator is out after it', async (t) => {
  const scene = await start(t);
  for (let nth = 0; nth < 5; nth++) assert.equal((await ask(scene, session(1))).status, 200);
  assert.equal(scene.asked.length, 1);
  (scene.users[0] as User).status = 2;
  scene.clock.tick(30_000);
  assert.equal((await ask(scene, session(1))).status, 401);
  scene.fall();
  scene.clock.tick(30_000);
  assert.deepEqual(problem(await ask(scene, session(1))), [503, 'auth_unavailable', null]);
});

it('ten unknown credentials of an address are asked about in a minute; a user without the role is no guess', async (t) => {
  const scene = await start(t);
  for (let nth = 0; nth < 15; nth++) {
    assert.equal((await ask(scene, session(3))).status, 403);
    scene.clock.tick(1);
  }
  const statuses: number[] = [];
  for (let nth = 0; nth < 12; nth++) statuses.push((await ask(scene, session(`x${nth}`, 1))).status);
  assert.deepEqual(statuses, [...Array<number>(10).fill(401), 429, 429]);
  assert.equal((await ask(scene, session(3))).status, 403, 'a known one is not asked about again');
  scene.clock.tick(60_000);
  assert.equal((await ask(scene, session(1))).status, 200);
  const together = await Promise.all(Array.from({ length: 20 }, (_, nth) => ask(scene, session(`y${nth}`, 1))));
  assert.equal(together.filter(({ status }) => status === 429).length, 10);
});
