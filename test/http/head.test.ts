import '../support/node.ts';
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { fieldsOf, writeHead } from '../../lib/http/head.ts';
import { closing, request } from '../support/client.ts';

const lines = 'RateLimit: "requests";r=3;t=60\r\nx-ratelimit-reset-requests: 1m0s\r\n';
const fields = ['RateLimit', '"requests";r=3;t=60', 'x-ratelimit-reset-requests', '1m0s'];

/** The head as a client gets it, flat, without what Node adds. @param before what a host does first. */
async function sent(t: TestContext, before: (res: ServerResponse) => void, more: string | null = lines): Promise<string[]> {
  const server = createServer((_req, res) => {
    before(res);
    writeHead(res, 200, ['Content-Type', 'text/plain', 'Content-Length', '2'], more);
    res.end('ok');
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  closing(t, server);
  const { rawHeaders, text } = await request(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  assert.equal(text, 'ok');
  return rawHeaders.flatMap((name, at) => (at % 2 === 0 && !/^(?:date|connection|keep-alive)$/i.test(name) ? [name, rawHeaders[at + 1] as string] : []));
}

describe('a head with lines of our own', () => {
  const plain = ['Content-Type', 'text/plain', 'Content-Length', '2'];

  it('is the list and the lines', async (t) => {
    assert.deepEqual(await sent(t, () => undefined), [...plain, ...fields]);
    assert.deepEqual(await sent(t, () => undefined, null), plain);
  });

  it('says once what a host has said before', async (t) => {
    const head = await sent(t, (res) => void res.setHeader('X-Powered-By', 'host').setHeader('ratelimit', 'theirs'));
    assert.deepEqual(head, ['X-Powered-By', 'host', ...plain, ...fields]);
  });

  it('goes through a host that writes the head itself', async (t) => {
    const head = await sent(t, (res) => {
      const { writeHead: nodes } = res;
      res.writeHead = ((status: number, list: string[]) => nodes.call(res, status, [...list, 'X-Host', 'saw', 'X-Fields', String(list.length / 2)])) as typeof nodes;
    });
    assert.deepEqual(head, [...plain, ...fields, 'X-Host', 'saw', 'X-Fields', '4']);
  });

  it('can be taken apart into fields', () => {
    assert.deepEqual(fieldsOf(lines), fields);
    assert.deepEqual(fieldsOf('A: b: c\r\n'), ['A', 'b: c']);
  });
});
