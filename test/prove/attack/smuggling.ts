import { setTimeout as pause } from 'node:timers/promises';
import { fronts, startFront, type Front } from './fronts.ts';
import type { Ledger } from './ledger.ts';
import { ATTACKER, VICTIM, keysYaml, openScene, shown, victim, type Scene } from './scene.ts';
import { first, tell, type Arrival, type React } from './stand-in.ts';
import { vectors, type Answers, type Vector } from './vectors.ts';
import { exchange, type Heard } from './wire.ts';

const yaml = `${keysYaml()}rate_limit: { address: { limit: 0 } }\nmetrics: { token: attack-metrics-token-0123456789abcdef }\n`;

/** Answers as the request asks for (`as`), before its body where its path says `early`. */
const react: React = (arrival, at) => {
  const as = /[?&]as=(\w+)/.exec(arrival.target)?.[1];
  const early = arrival.target.includes('early') || arrival.headers.has('upgrade');
  if ((at === 'head') !== early) return null;
  switch (as) {
    case '101':
      return { bytes: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n' };
    case '301':
      return { bytes: 'HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n' };
    case '500':
      return { bytes: 'HTTP/1.1 500 No\r\nX-Oneapi-Request-Id: r\r\nContent-Length: 2\r\n\r\nno' };
    case 'close':
      return { bytes: 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', close: true };
    default:
      return tell(arrival);
  }
};

const expectedOf = (answers: Answers): string => (typeof answers === 'string' ? answers : answers.join(' or '));

/** Requests that try to be two, sent directly and behind three proxies, each with a gate and an upstream of its own. */
export async function smuggling(ledger: Ledger): Promise<void> {
  await Promise.all(fronts.map((front) => through(front, ledger)));
}

async function through(front: Front, ledger: Ledger): Promise<void> {
  // Behind a proxy each framing goes through one of the gate's engines, in turns.
  const chosen = vectors().filter(({ name }, nth) => front === 'direct' || !/^(?:chat|api),/.test(name) || name.startsWith('chat,') === (nth % 2 === 0));
  const all = chosen.filter(({ name }) => !ledger.skips('smuggling', front, name));
  if (all.length === 0) return;
  let scene = await openScene(yaml, { react });
  try {
    let port = await startFront(scene, front, scene.port);
    for (const vector of all) {
      if (ledger.late) break;
      const got = await attempt(scene, port, vector, front);
      ledger.note({ group: 'smuggling', via: front, vector: vector.name, expected: expectedOf(vector.answers), got });
      if (scene.alive() && !got?.includes('victim')) continue;
      // What it poisoned must not be held against the next.
      await scene.close();
      scene = await openScene(yaml, { react });
      port = await startFront(scene, front, scene.port);
    }
    if (!ledger.skips('smuggling', front, 'every exchange is recorded')) ledger.note({ group: 'smuggling', via: front, vector: 'every exchange is recorded', expected: 'a record and an access line', got: await unrecorded(scene) });
  } finally {
    await scene.close();
  }
}

async function attempt(scene: Scene, port: number, vector: Vector, front: Front): Promise<string | null> {
  const { upstream } = scene;
  const before = upstream.arrivals.length;
  const rubbish = upstream.rubbish.length;
  const attack = exchange(port, vector.steps, { quiet: vector.closes ? 400 : 25, ...(vector.end && { end: true }), ...(vector.methods && { methods: vector.methods }) });
  const hangs = await Promise.race([attack.then(() => false), pause(60).then(() => true)]);
  const during = hangs ? await victim(port) : null;
  const heard = await attack;
  const after = await victim(port);
  const arrived = upstream.arrivals.slice(before);
  const problems = [
    scene.alive() ? null : 'the process ended',
    during === null ? null : `during it: ${during}`,
    after === null ? null : `behind it: ${after}`,
    upstream.rubbish.length > rubbish ? `rubbish at the upstream: ${JSON.stringify(upstream.rubbish.at(-1)?.slice(0, 60))}` : null,
    ...arrived.map(wrong),
    await halfSent(upstream, arrived),
    ...(front === 'direct' ? [misread(heard, vector), hiddenOne(arrived, vector)] : []),
  ];
  return problems.filter((problem) => problem !== null).join('; ') || null;
}

/** What a request at the upstream must not be, whoever sent it. */
function wrong(arrival: Arrival): string | null {
  const { method, target, headers, problems } = arrival;
  const whose = first(arrival, 'x-whose') === 'victim';
  const ids = headers.get('x-request-id') ?? [];
  if (problems.length > 0) return `${method} ${target}: ${problems.join(', ')}`;
  if (ids.length !== 1 || !/^[\da-f]{8}-[\da-f]{4}-7/.test(ids[0] ?? '')) return `${method} ${target} came past the gate`;
  if (arrival.head.includes(VICTIM.key) || arrival.head.includes(ATTACKER.key)) return `${method} ${target} shows a gateway key`;
  if (!whose && arrival.head.includes(VICTIM.credential)) return `${method} ${target} carries the victim's credential`;
  if (arrival.body.includes('X-Whose: victim') || arrival.body.includes(VICTIM.credential)) return `${method} ${target} holds the victim's request`;
  return null;
}

/** A request that is never sent to its end must take its connection with it. */
async function halfSent({ open }: Scene['upstream'], arrived: readonly Arrival[]): Promise<string | null> {
  const waiting = (): Arrival | undefined => arrived.find(({ complete, connection }) => !complete && open.has(connection));
  for (let left = 20; left > 0 && waiting() !== undefined; left--) await pause(25);
  const found = waiting();
  return found === undefined ? null : `${found.method} ${found.target}: half sent, on a connection that stays open`;
}

function hiddenOne(arrived: readonly Arrival[], { pipelined = false }: Vector): string | null {
  return !pipelined && arrived.some(({ target }) => target.startsWith('/api/hidden/')) ? 'the hidden request was served' : null;
}

function misread(heard: Heard, { answers, closes = false }: Vector): string | null {
  const status = heard.answers[0]?.status ?? 0;
  if (closes && heard.answers.length > 0 && !heard.closed) return `${shown(heard)}: the connection stays open`;
  if (heard.bytes.length > 0 && !heard.bytes.toString('latin1', 0, 9).startsWith('HTTP/1.1 ')) return shown(heard);
  if (answers === 'either') return null;
  const fits = answers === 'served' ? status === 200 : answers === 'refused' ? status >= 400 && status < 600 : answers.includes(status);
  return fits ? null : shown(heard);
}

async function unrecorded(scene: Scene): Promise<string | null> {
  const { arrivals } = scene.upstream;
  let missing: Arrival[] = [];
  // On a busy machine a commit may take long.
  for (let look = 0; look < 15; look++) {
    const recorded = new Set((await scene.rows()).map((row) => row['request_id']));
    const lines = scene.log();
    missing = arrivals.filter((arrival) => {
      const id = first(arrival, 'x-request-id') ?? '';
      return !recorded.has(id) || !lines.includes(id);
    });
    if (missing.length === 0) return null;
  }
  return `${missing.length} of ${arrivals.length} are not, the first: ${missing[0]?.method} ${missing[0]?.target}`;
}
