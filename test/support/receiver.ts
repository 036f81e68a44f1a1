import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A record as the receiver is sent it. */
export type Payload = Readonly<Record<string, string | number | null>>;

/** How the receiver answers: as it should, or in one of the ways it may fail. */
export type Manner = 'well' | 'limited' | 'limited with a word' | 'broken' | 'unsuccessful' | 'page' | 'silent' | 'absent' | 'redirect';

/** NewAPI's log receiver and what may go wrong with it. */
export interface Receiver {
  readonly url: string;
  manner: Manner;
  /** Records whose path this says true of are answered with 400. */
  refuses: (payload: Payload) => boolean;
  /** What it has taken, in order. */
  readonly taken: readonly Payload[];
  /** Every call, with what it was answered; 0 for none. */
  readonly calls: readonly { readonly at: number; readonly status: number; readonly path: string; readonly payload: Payload }[];
  /** Nothing listens any more. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** A sliding window as NewAPI's limit is one. */
interface Window {
  readonly limit: number;
  readonly window: number;
}

/** @param limit calls it answers in a time; more get its empty 429. */
export async function startReceiver(limit: Window | null = null): Promise<Receiver> {
  const taken: Payload[] = [];
  const calls: { at: number; status: number; path: string; payload: Payload }[] = [];
  const times: number[] = [];
  let server: Server | null = null;
  let port = 0;

  const isOver = (now: number): boolean => {
    if (limit === null) return false;
    while (times.length > 0 && (times[0] as number) <= now - limit.window) times.shift();
    if (times.length >= limit.limit) return true;
    times.push(now);
    return false;
  };

  const answer = (res: ServerResponse, payload: Payload): number => {
    if (isOver(performance.now())) return send(res, 429, '');
    if (receiver.manner === 'well' && receiver.refuses(payload)) return send(res, 400, '{"success":false,"message":"Invalid log data"}');
    const status = manners[receiver.manner](res);
    if (receiver.manner === 'well') taken.push(payload);
    return status;
  };

  const receiver: Receiver = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    manner: 'well',
    refuses: () => false,
    taken,
    calls,
    async stop() {
      if (server === null) return;
      const ending = once(server, 'close');
      server.close();
      server.closeAllConnections();
      server = null;
      await ending;
    },
    async start() {
      if (server !== null) return;
      server = createServer((req, res) => {
        let text = '';
        req.on('data', (chunk: Buffer) => (text += String(chunk))).on('end', () => {
          const payload = JSON.parse(text) as Payload;
          calls.push({ at: performance.now(), path: req.url ?? '', payload, status: answer(res, payload) });
        });
      });
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
    },
    close: () => receiver.stop(),
  };
  await receiver.start();
  return receiver;
}

const manners: Readonly<Record<Manner, (res: ServerResponse) => number>> = {
  'well': (res) => send(res, 200, '{"success":true,"message":"Log received successfully"}'),
  'limited': (res) => send(res, 429, ''),
  'limited with a word': (res) => send(res, 429, '', { 'Retry-After': '3' }),
  'broken': (res) => send(res, 500, '{"success":false,"message":"Failed to save log"}'),
  'unsuccessful': (res) => send(res, 200, '{"success":false,"message":"no"}'),
  'page': (res) => send(res, 200, '<!doctype html><title>Welcome</title>', { 'Content-Type': 'text/html' }),
  'silent': () => 0,
  'absent': (res) => send(res, 404, '{"error":{"message":"Invalid URL"}}'),
  'redirect': (res) => send(res, 302, '', { Location: '/login' }),
};

function send(res: ServerResponse, status: number, body: string, headers: Readonly<Record<string, string>> = {}): number {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
  return status;
}
