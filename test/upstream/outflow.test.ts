import '../support/node.ts';
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { it } from 'node:test';
import type { Context } from '../../lib/request/request.ts';
import { Outflow } from '../../lib/upstream/outflow.ts';

class Client extends EventEmitter {
  hasRoom = true;
  writableNeedDrain = false;
  written = 0;

  write(bytes: Buffer): boolean {
    this.written += bytes.length;
    this.writableNeedDrain = !this.hasRoom;
    return this.hasRoom;
  }

  drain(): void {
    this.hasRoom = true;
    this.writableNeedDrain = false;
    this.emit('drain');
  }
}

const chunk = Buffer.alloc(65_536);

function flowOf(): { client: Client; flow: Outflow; calls: string[] } {
  const client = new Client();
  const calls: string[] = [];
  const source = { pause: () => calls.push('pause'), resume: () => calls.push('resume') };
  return { client, calls, flow: new Outflow({ res: client } as unknown as Context, source, () => calls.push('room')) };
}

it('an answer waits for its client', () => {
  const { client, flow, calls } = flowOf();
  flow.write(chunk);
  client.hasRoom = false;
  flow.write(chunk);
  assert.deepEqual(calls, ['pause']);
  client.drain();
  assert.deepEqual(calls, ['pause', 'room', 'resume']);
});

it('an answer lets all else have its turn after 256 KB, and goes on once its client has room', async () => {
  const { client, flow, calls } = flowOf();
  for (let nth = 0; nth < 4; nth++) flow.write(chunk);
  assert.deepEqual([client.written, calls], [262_144, ['pause']]);
  await new Promise(setImmediate);
  assert.deepEqual(calls, ['pause', 'resume']);
  for (let nth = 0; nth < 3; nth++) flow.write(chunk);
  client.hasRoom = false;
  flow.write(chunk);
  for (let round = 0; round < 3; round++) await new Promise(setImmediate);
  assert.deepEqual(calls.filter((call) => call === 'resume'), ['resume']);
  client.drain();
  assert.equal(calls.at(-1), 'resume');
});

it('many answers at once take turns, two in each round of the event loop', async () => {
  const flows = Array.from({ length: 5 }, flowOf);
  for (const { flow } of flows) for (let nth = 0; nth < 4; nth++) flow.write(chunk);
  const left: number[] = [];
  for (let round = 0; round < 3; round++) {
    await new Promise(setImmediate);
    left.push(flows.filter(({ calls }) => !calls.includes('resume')).length);
  }
  assert.deepEqual(left, [3, 1, 0]);
});
