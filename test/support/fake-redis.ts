import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

/** A Redis that answers scripts as if every rule had room, unless a test says otherwise. */
export interface FakeRedis {
  readonly url: string;
  /** The error it answers every command with that a request needs; null: none. */
  error: string | null;
  /** Takes connections and commands and answers nothing. */
  silent: boolean;
  /** Connections so far, and scripts run or refused. */
  readonly seen: { connections: number; scripts: number; sources: number };
  /** Ends all connections. */
  drop(): void;
  close(): Promise<void>;
}

/** Starts it on a free port of 127.0.0.1. */
export async function startFakeRedis(): Promise<FakeRedis> {
  const sockets = new Set<Socket>();
  const known = new Set<string>();
  const server = createServer((socket) => {
    fake.seen.connections++;
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let next = commandIn(text); next !== null; next = commandIn(text)) {
        text = text.slice(next.length);
        if (!fake.silent) socket.write(answer(next.words, fake, known));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fake: FakeRedis = {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    error: null,
    silent: false,
    seen: { connections: 0, scripts: 0, sources: 0 },
    drop: () => sockets.forEach((socket) => socket.destroy()),
    async close() {
      fake.drop();
      server.close();
      await once(server, 'close');
    },
  };
  return fake;
}

/** The first command of what was received (RESP arrays of bulk strings), or null while it is not whole. */
function commandIn(text: string): { readonly words: readonly string[]; readonly length: number } | null {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return null;
  let at = head[0].length;
  const words: string[] = [];
  for (let left = Number(head[1]); left > 0; left--) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20));
    if (size === null) return null;
    const begin = at + size[0].length;
    const end = begin + Number(size[1]);
    if (text.length < end + 2) return null;
    words.push(text.slice(begin, end));
    at = end + 2;
  }
  return { words, length: at };
}

function answer([name = '', script = '', count = '0']: readonly string[], fake: FakeRedis, known: Set<string>): string {
  if (name === 'HELLO') return '%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n';
  if (name === 'PING') return '+PONG\r\n';
  if (name !== 'EVAL' && name !== 'EVALSHA') return '+OK\r\n';
  fake.seen.scripts++;
  if (name === 'EVAL') fake.seen.sources++;
  if (fake.error?.startsWith('NOSCRIPT') && name === 'EVALSHA' && !known.has(script)) {
    known.add(script);
    return `-${fake.error}\r\n`;
  }
  if (fake.error !== null && !fake.error.startsWith('NOSCRIPT')) return `-${fake.error}\r\n`;
  const reply = ['1', ...Array.from({ length: Number(count) }, () => ['0', '1', '0', '0', '0', '0']).flat()];
  return `*${reply.length}\r\n${reply.map((text) => `$${text.length}\r\n${text}\r\n`).join('')}`;
}
