import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { listening } from '../../lib/server/listening.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

test('a server that cannot accept a connection goes on, and says so once a minute', async (t) => {
  const [clock, log] = [fakeClock(), recorder()];
  const server = createServer((_req, res) => void res.end('served'));
  t.after(() => server.close());
  await listening(server, { clock, log }, { port: 0, host: '127.0.0.1' });
  const { port } = server.address() as AddressInfo;
  const fail = (): boolean => server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  assert.ok(fail() && fail());
  assert.deepEqual(log.named('listener.failed').map(({ code }) => code), ['EMFILE']);
  clock.tick(60_000);
  assert.ok(fail());
  assert.equal(log.named('listener.failed').length, 2);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })).text(), 'served');
  await assert.rejects(listening(createServer(), { clock, log }, { port, host: '127.0.0.1' }), { code: 'EADDRINUSE' });
});
