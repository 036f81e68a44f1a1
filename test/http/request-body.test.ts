import '../support/node.ts';
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from '../support/property.ts';
import { BodyInspector, type BodyReading, ChunkBrake, CompactBody, RequestBody } from '../../lib/http/request-body.ts';

const chunks = fc.array(fc.oneof({ weight: 5, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 3 }) }, fc.uint8Array({ minLength: 1, maxLength: 40_000, size: 'max' })), { maxLength: 40 }).map((all) => all.map((each) => Buffer.from(each)));

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

describe('the body of a request in pieces', () => {
  it('gives back what it was given, of declared size or not, as a whole and in part', () => {
    fc.assert(
      fc.property(chunks, fc.boolean(), fc.nat(), fc.nat(), (all, isDeclared, one, other) => {
        const whole = Buffer.concat(all);
        const body = new RequestBody(isDeclared ? whole.length : 0);
        for (const chunk of all) {
          body.push(chunk);
          assert.deepEqual(body.bytes(body.size - chunk.length, body.size), chunk);
        }
        const [from, to] = [one % (whole.length + 1), other % (whole.length + 1)].sort((a, b) => a - b) as [number, number];
        assert.deepEqual(body.bytes(from, to), whole.subarray(from, to));
        assert.equal(body.size, whole.length);
        body.end();
        assert.deepEqual(Buffer.concat(body.pieces), whole);
        assert.deepEqual(body.head(one), whole.subarray(0, one));
        assert.deepEqual(body.whole(), whole);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps large chunks as they are', () => {
    const body = new RequestBody(0);
    const all = [Buffer.from('all'), Buffer.alloc(5000, 'a'), Buffer.alloc(70_000, 'b')];
    for (const chunk of all) body.push(chunk);
    body.end();
    assert.equal(body.pieces.length, 3);
    for (const [nth, chunk] of all.entries()) assert.equal(body.pieces[nth], chunk);
  });

  it('is one piece where it is not too large', () => {
    const all = [Buffer.alloc(200, 'a'), Buffer.alloc(60_000, 'b'), Buffer.from('c')];
    const body = new RequestBody(0);
    for (const chunk of all) body.push(chunk);
    body.settle();
    assert.deepEqual(body.pieces, [Buffer.concat(all)]);
    assert.deepEqual(body.bytes(150, 300), Buffer.concat(all).subarray(150, 300));
    const large = new RequestBody(0);
    for (let nth = 0; nth < 5; nth++) large.push(Buffer.alloc(65_536));
    large.settle();
    assert.equal(large.pieces.length, 5);
  });

  it('frees its memory once no connection reads it, where it is its own', () => {
    const reader = { isFlushed: false };
    const bodyOf = (isOwn: boolean): RequestBody => {
      const body = RequestBody.of(Buffer.from(new ArrayBuffer(20_000)));
      body.isOwn = isOwn;
      body.readBy(reader);
      return body;
    };
    const isFreed = ({ pieces }: RequestBody): boolean => pieces.every(({ buffer }) => (buffer as ArrayBuffer).detached);
    const [own, others] = [bodyOf(true), bodyOf(false)];
    own.free();
    assert.equal(isFreed(own), false);
    reader.isFlushed = true;
    for (const body of [own, others]) body.free();
    assert.deepEqual([own, others].map(isFreed), [true, false]);
    // A view of memory that holds more.
    const part = RequestBody.of(Buffer.from(new ArrayBuffer(40_000)).subarray(0, 20_000));
    part.isOwn = true;
    part.free();
    assert.equal(isFreed(part), false);
  });

  it('keeps its memory while it is decompressed in another thread, whatever ends the request meanwhile', async () => {
    const text = JSON.stringify({ model: 'm', x: Array.from({ length: 20_000 }, (_, nth) => (nth * 7919).toString(36)).join(' ') });
    const packers = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync, 'gzip, br': (bytes: string) => brotliCompressSync(gzipSync(bytes)) };
    for (const [encoding, pack] of Object.entries(packers)) {
      const packed = pack(text);
      const body = RequestBody.of(Buffer.from(new Uint8Array(packed).buffer));
      body.isOwn = true;
      const reading = new Promise<BodyReading>((resolve) => new BodyInspector(10_000_000).inspect({ body, scan: null, type: 'application/json', encoding, api: '', isForm: false }, resolve));
      body.free();
      assert.deepEqual([body.memory, body.whole().length], [null, packed.length], encoding);
      const { model, problem, decoded } = await reading;
      assert.deepEqual([model, problem, decoded?.toString() === text], ['m', null, true], encoding);
      body.free();
      assert.equal(body.whole().length, 0, encoding);
    }
  });

  it('holds about as many bytes as it was given, however small the chunks are', () => {
    const held = (): number => process.memoryUsage().heapUsed + process.memoryUsage().external;
    gc();
    const before = held();
    const body = new RequestBody(0);
    for (let nth = 0; nth < 500_000; nth++) body.push(Buffer.from([nth & 255]));
    gc();
    const after = held();
    assert.ok(after - before < 3_000_000, String(after - before));
    assert.equal(body.whole().length, 500_000);
  });
});

/** A request whose socket can be paused. */
function requestOf(): { readonly req: PassThrough; readonly body: CompactBody; isPaused(): boolean } {
  let paused = false;
  const socket = Object.assign(new EventEmitter(), { pause: () => void (paused = true), resume: () => void (paused = false) });
  const req = Object.assign(new PassThrough({ highWaterMark: 1e9 }), { socket, complete: false });
  req.once('end', () => void (req.complete = true));
  return { req, body: new CompactBody(req as unknown as IncomingMessage, (error) => { throw error; }), isPaused: () => paused };
}

async function read(body: Readable): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) found.push(chunk);
  return found;
}

describe('a compact body', () => {
  it('is what was sent', async () => {
    await fc.assert(
      fc.asyncProperty(chunks, async (all) => {
        const { req, body } = requestOf();
        for (const chunk of all) req.write(chunk);
        req.end();
        assert.deepEqual(Buffer.concat(await read(body)), Buffer.concat(all));
      }),
      { numRuns: 60 },
    );
  });

  it('joins small chunks, and passes large ones as they are', async () => {
    const { req, body } = requestOf();
    const large = Buffer.alloc(16_384, 'l');
    for (let nth = 0; nth < 1000; nth++) req.write('s');
    req.write(large);
    req.end('e');
    const found: Buffer[] = [];
    body.on('data', (chunk: Buffer) => found.push(chunk));
    await new Promise((resolve) => void body.once('end', resolve));
    assert.deepEqual(found.map(({ length }) => length), [1000, 16_384, 1]);
    assert.equal(found[1]?.buffer, large.buffer);
  });

  it('passes on what has come without waiting for more', async () => {
    const { req, body } = requestOf();
    req.write('now');
    await new Promise((resolve) => void body.once('data', resolve));
    assert.equal(body.destroyed, false);
  });

  it('stops the socket while it is full, and not for good', async () => {
    const { req, body, isPaused } = requestOf();
    for (let nth = 0; nth < 5; nth++) req.write(Buffer.alloc(30_000));
    await new Promise(setImmediate);
    assert.equal(isPaused(), true);
    req.end();
    await read(body);
    assert.equal(isPaused(), false);
  });

  it('ends when the client leaves', async () => {
    const { req, body } = requestOf();
    req.write('half');
    await new Promise(setImmediate);
    req.destroy();
    await new Promise((resolve) => void body.once('close', resolve));
  });
});

it('a brake stops a connection behind many chunks, and lets one go on in each round of the event loop', async () => {
  const paused = new Set<number>();
  const brakes = Array.from({ length: 5 }, (_, nth) => {
    const socket = new EventEmitter();
    const brake = new ChunkBrake(Object.assign(socket, {
      pause: () => void paused.add(nth),
      resume: () => {
        paused.delete(nth);
        socket.emit('resume');
      },
    }) as unknown as Socket);
    return { brake, socket: socket as unknown as Socket };
  });
  for (let chunk = 0; chunk < 499; chunk++) for (const { brake } of brakes) brake.count(100);
  assert.equal(paused.size, 0);
  for (const { brake } of brakes) brake.count(100);
  for (const { socket } of brakes) socket.resume();
  const left: number[] = [paused.size];
  for (let round = 0; round < 5; round++) {
    await new Promise(setImmediate);
    left.push(paused.size);
  }
  assert.deepEqual(left, [5, 4, 3, 2, 1, 0]);
});
