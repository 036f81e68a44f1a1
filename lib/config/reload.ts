import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../../types/config.d.ts';
import type { Path } from '../values/values.ts';
import { valueAt, writePath } from './paths.ts';
import { isSection, type Tree } from './schema-tree.ts';

/** What takes effect only when the process starts, sections as a whole. Everything else is taken over while the gate runs. */
export const atStart: readonly string[] = [
  'secret', 'previousSecrets', 'proxy',
  'server.host', 'server.port', 'server.workers', 'server.http2', 'server.http3', 'server.proxyProtocol', 'server.maxHeaderBytes', 'server.healthCheck',
  'guard.connectionsPerAddress',
  'queue.statePath', 'queue.saveInterval',
  'rateLimit.store', 'rateLimit.redisUrl', 'rateLimit.redisCaPath', 'rateLimit.onStoreError',
  'audit.enabled', 'audit.path', 'audit.durability', 'audit.onFull', 'metrics.prefix', 'metrics.series', 'admin.clientCaPath',
];

/** A configuration that takes the place of another while the gate runs. */
export interface Succession {
  /** The new one, with the values of the old one where the gate must start for a change. */
  readonly config: Config;
  /** Keys as a file names them: those that change, and those of them that need a restart. */
  readonly changed: readonly string[];
  readonly restart: readonly string[];
}

/** What becomes of a wanted configuration while the gate runs with another one. The result is not frozen yet. */
export function succession(current: Config, wanted: Config): Succession {
  const changed = differences(current, wanted, []);
  const restart = changed.filter((at) => needsRestart(at, current, wanted));
  const config = restart.reduce((tree, at) => withValue(tree, at, valueAt(current as unknown as Tree, at)), wanted as unknown as Tree);
  const written = (paths: readonly Path[]): string[] => paths.map((at) => writePath(at, 'snake'));
  return { config: config as unknown as Config, changed: written(changed), restart: written(restart) };
}

function needsRestart(at: Path, current: Config, wanted: Config): boolean {
  const place = at.join('.');
  if (atStart.some((each) => place === each || place.startsWith(`${each}.`))) return true;
  // A listener keeps its protocol.
  return at[0] === 'server' && at[1] === 'tls' && (current.server.tls === null) !== (wanted.server.tls === null);
}

/** Where two configurations differ: a list, a map, or a section that one of them has not, is one value. */
function differences(one: unknown, other: unknown, at: Path): Path[] {
  if (isDeepStrictEqual(one, other)) return [];
  const [keys, others] = [one, other].map((value) => (isSection(value) ? Object.keys(value).sort().join() : null));
  if (keys === null || keys !== others) return [at];
  return Object.keys(one as Tree).flatMap((key) => differences((one as Tree)[key], (other as Tree)[key], [...at, key]));
}

function withValue(tree: Tree, [step, ...rest]: Path, value: unknown): Tree {
  if (step === undefined) return tree;
  return { ...tree, [step]: rest.length === 0 ? value : withValue(tree[step] as Tree, rest, value) };
}
