import { createHash, hash, type Hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { within, type TestLike } from '../support/client.ts';
import { DEMO_KEY } from '../support/newapi.ts';
import { startUpstream, type Upstream } from '../support/upstream.ts';
import { runGate, type RunningGate } from './gate.ts';
import type { Finding } from './proof.ts';

/**
 * Readers, what each is offered, in events, and how long an upstream may be silent. The kernel takes some 8 MB of each
 * before anybody is held back: for a crowd that would be more than it has for all connections, and with less it still makes
 * pauses of its own.
 */
const crowds = [{ readers: 20, events: 1024, idle: '2s' }, { readers: 200, events: 192, idle: '30s' }] as const;
const eventBytes = 32_768;
/** So many stay to the end when the others have left. */
const patient = 10;
/** A trickle: so many bytes, so often (milliseconds), for so long (milliseconds). */
const sip = 2048;
const every = 100;
const duration = 6000;
/** What the gate may hold of a reader's answer, bytes: a full buffer each way. */
const heldAtMost = 262_144;
/** What a reader may cost it in resident memory, bytes, beside what work as such does: the collector takes its time. */
const memoryAtMost = 524_288;
const workAtMost = 134_217_728;
/** Growth allowed in the second half, when all buffers are full. */
const growth = 1.1;

const body = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'much' }] });
const frame = (n: number): string => `data: ${JSON.stringify({ n, text: '-'.repeat(eventBytes) })}\n\n`;
const end = 'data: [DONE]\n\n';
const whole = (events: number): string => hash('sha256', Array.from({ length: events }, (_, n) => frame(n)).join('') + end);

/** Many clients that read a large stream at a trickle: the upstream is held back, the gate's memory stays bounded. */
export async function slowReaders(): Promise<Finding> {
  const rows: Row[] = [];
  for (const crowd of crowds) rows.push(await read(crowd));
  const [few] = rows as [Row];
  const isHeldBack = few['MB taken for each'] * 2 < few['MB offered to each'];
  const bar = `the upstream is held back; for each reader the gate holds at most ${heldAtMost / 1024} KB of an answer and ${memoryAtMost / 1024} KB of memory beside ${workAtMost / 2 ** 20} MB at work, no more in the second half; it cuts none`;
  return { rows, bar, holds: isHeldBack && rows.every(isBounded) };
}

function isBounded(row: Row): boolean {
  const { 'gate MB before': before, 'gate MB, first half': early, 'gate MB, second half': late } = row;
  const memory = ((late - before) * 2 ** 20 - workAtMost) / row.readers;
  const clean = row.cut === 0 && row['in hand after'] === 0 && row['ms until the upstream saw the others leave'] < 1000;
  return clean && row['KB held for each'] * 1024 <= heldAtMost && memory <= memoryAtMost && late <= early * growth && row['whole, of 10 who stayed'] === patient;
}

type Row = Awaited<ReturnType<typeof read>>;

async function read({ readers, events, idle }: (typeof crowds)[number]) {
  const closers: (() => unknown)[] = [];
  const scope: TestLike = { after: (run) => void closers.push(run) };
  const answers: ServerResponse[] = [];
  const sockets = new Set<Socket>();
  const upstream = await startUpstream(scope, (req, res) => {
    req.resume();
    answers.push(res);
    sockets.add(req.socket);
    offer(res, events);
  });
  // A few who hold the upstream back make it silent for longer than it may be.
  const gate = await runGate(upstream.url, `llm: { timeouts: { idle: ${idle} }, health_check: { enabled: false } }`);
  const before = gate.memory();
  const clients = await Promise.all(Array.from({ length: readers }, () => enter(gate.url)));
  const [early, late] = [await trickle(clients, gate), await trickle(clients, gate)];
  const taken = [...sockets].reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, 0);
  const held = taken - inKernel(upstream, gate) - clients.reduce((sum, { message }) => sum + message.socket.bytesRead, 0);
  const cut = clients.filter(({ message }) => message.destroyed).length;
  const seenIn = await othersLeave(clients, answers);
  const sums = await Promise.all(clients.slice(0, patient).map(toTheEnd));
  await within(5000, async () => (await gate.inHand()) === 0);
  const row = {
    readers,
    'MB offered to each': Math.round((events * eventBytes) / 2 ** 20),
    'MB taken for each': Math.round((taken * 10) / readers / 2 ** 20) / 10,
    'KB held for each': Math.max(0, Math.round(held / readers / 1024)),
    'gate MB before': Math.round(before),
    'gate MB, first half': Math.round(early),
    'gate MB, second half': Math.round(late),
    cut,
    'ms until the upstream saw the others leave': Math.round(seenIn),
    'whole, of 10 who stayed': sums.filter((sum) => sum === whole(events)).length,
    'in hand after': await gate.inHand(),
  };
  await gate.stop();
  for (const close of closers.reverse()) await close();
  return row;
}

/** Everything, as fast as it is taken. */
function offer(res: ServerResponse, events: number): void {
  res.writeHead(200, { 'Content-Type': 'text/event-stream' });
  let n = 0;
  const more = (): void => {
    while (n < events) if (!res.write(frame(n++))) return;
    res.end(end);
  };
  res.on('drain', more);
  more();
}

interface Reader {
  readonly message: IncomingMessage;
  readonly sum: Hash;
}

/** A client that has its answer's head and reads nothing yet. */
function enter(url: string): Promise<Reader> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${DEMO_KEY}`, 'content-type': 'application/json', 'content-length': body.length };
    const outgoing = request(`${url}/v1/chat/completions`, { method: 'POST', headers, agent: false });
    outgoing.on('response', (message) => {
      message.on('error', () => {});
      resolve({ message, sum: createHash('sha256') });
    });
    outgoing.on('error', reject).end(body);
  });
}

/** @returns the most memory of the gate meanwhile, MB. */
async function trickle(clients: readonly Reader[], gate: RunningGate): Promise<number> {
  let most = 0;
  for (const over = performance.now() + duration / 2; performance.now() < over; ) {
    for (const { message, sum } of clients) {
      const bytes = message.read(sip) as Buffer | null;
      if (bytes !== null) sum.update(bytes);
    }
    most = Math.max(most, gate.memory());
    await pause(every);
  }
  return most;
}

/** All but the patient. @returns after how many milliseconds the upstream has seen it. */
async function othersLeave(clients: readonly Reader[], answers: readonly ServerResponse[]): Promise<number> {
  const from = performance.now();
  for (const { message } of clients.slice(patient)) message.destroy();
  await within(5000, () => answers.filter(({ destroyed, writableFinished }) => destroyed || writableFinished).length >= clients.length - patient);
  return performance.now() - from;
}

async function toTheEnd({ message, sum }: Reader): Promise<string> {
  for await (const bytes of message) sum.update(bytes as Buffer);
  return sum.digest('hex');
}

/** Bytes that wait in the kernel's buffers, either side, on their way to the gate and from it. */
function inKernel(upstream: Upstream, gate: RunningGate): number {
  const wanted = [upstream.port, Number(new URL(gate.url).port)].map((port) => port.toString(16).toUpperCase().padStart(4, '0'));
  let bytes = 0;
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local = '', remote = '', , queues = ''] = line.trim().split(/\s+/);
    if (!wanted.includes(local.slice(-4)) && !wanted.includes(remote.slice(-4))) continue;
    for (const queue of queues.split(':')) bytes += Number.parseInt(queue, 16);
  }
  return bytes;
}
