import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Signal } from '../../types/detector.d.ts';
import type { Finding as WatchFinding } from '../../types/finding.d.ts';
import { Watch } from '../../lib/anomaly/watch.ts';
import { Restraints } from '../../lib/registry/restraints.ts';
import type { Finding } from './proof.ts';

const keys = 100_000;
/** Requests of each key: a person with two machines in three networks, four models and two account names, over five days. */
const requests = 8;
const bars = { bytesAKey: 2048, megabytes: 200, microseconds: 1 };

const day = 86_400_000;
const began = Date.UTC(2026, 0, 5, 9);

const signalOf = (key: number, at: number): Signal => {
  const machine = at % 2;
  return {
    requestId: 'r', time: began + (at % 5) * day + key * 10 + at * 60_000, duration: 900, caller: { kind: 'token', id: key.toString(16).padStart(16, '0') }, refusedToken: null,
    network: `${20 + (at % 3)}.${key >> 8 & 255}.${key & 255}.0/24`, near: `${20 + (at % 3)}.${key >> 8 & 255}.0.0/16`, country: 'DE', client: 'claude-cli', platform: machine === 0 ? 'linux x64' : 'mac arm64', device: `${key} ${machine}`,
    home: `${key} ${machine}`, endUser: false, automated: false, forged: false, session: `${key} ${at % 3}`, model: `m${at % 4}`, route: '/v1/messages', path: '/v1/messages', failed: false, tokens: 20_000, cost: 0.01, size: 60_000, content: null,
  };
};

/** Bytes of the heap and beside it, after a collection. */
function used(collect: () => void): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** CPU of the question that every request asks on the main thread. */
function microsecondsOf(restraints: Restraints): number {
  const tokens = Array.from({ length: 1000 }, (_, at) => ({ id: at.toString(16).padStart(16, '0'), mask: '', former: [] }));
  let restrained = 0;
  const turns = 1_000_000;
  const before = process.cpuUsage();
  for (let at = 0; at < turns; at++) if (!restraints.isEmpty && restraints.ofCaller(null, tokens[at % tokens.length] ?? null) !== null) restrained++;
  const { user, system } = process.cpuUsage(before);
  return restrained < 0 ? 0 : (user + system) / turns;
}

/** The state of the watch for 100 000 keys: memory, and CPU of a request in the journal's thread and on the main thread. */
export async function watch(): Promise<Finding> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const watched = new Watch();
  const before = used(collect);
  const cpu = process.cpuUsage();
  for (let at = 0; at < requests; at++) for (let key = 0; key < keys; key++) watched.observe(signalOf(key, at));
  const { user, system } = process.cpuUsage(cpu);
  const bytes = used(collect) - before;
  const finding: WatchFinding = {
    id: 'f', rule: 'shared_key', caller: { kind: 'token', id: 'f'.repeat(16) }, score: 97, reason: '', since: began, last: began, state: 'open', action: 'freeze', would: null, expires: null, baseline: {},
    evidence: { records: [], requests: 1, devices: 2, networks: 1, sessions: 1 }, restsUntil: null, note: '',
  };
  const main = microsecondsOf(new Restraints([finding], began));
  const rows = [
    { what: 'keys with state', is: watched.callers, bar: keys },
    { what: 'bytes a key', is: Math.round(bytes / keys), bar: bars.bytesAKey },
    { what: 'MB in all', is: Math.round(bytes / 1e6), bar: bars.megabytes },
    { what: "µs a request in the journal's thread", is: Math.round(((user + system) / keys / requests) * 10) / 10, bar: '' },
    { what: 'µs a request on the main thread, some callers restrained', is: Math.round(main * 1000) / 1000, bar: bars.microseconds },
  ];
  const holds = watched.callers === keys && bytes / keys <= bars.bytesAKey && bytes / 1e6 <= bars.megabytes && main <= bars.microseconds;
  return { rows, bar: `${keys} keys within ${bars.megabytes} MB, ${bars.bytesAKey} bytes a key, ${bars.microseconds} µs a request on the main thread`, holds };
}
