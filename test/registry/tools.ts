import { join } from 'node:path';
import type { ConfigInput } from '../../lib/index.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { GatewayKeys } from '../../lib/keys/store.ts';
import { redisOf, type Redis } from '../../lib/platform/redis.ts';
import type { StoredKey } from '../../lib/registry/contents.ts';
import { KeyRegistry } from '../../lib/registry/registry.ts';
import type { TestLike } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, temporary, type Recorder } from '../support/gate.ts';

/** A registry as a gate has it, without the gate. */
export interface Held {
  readonly registry: KeyRegistry;
  readonly keys: GatewayKeys;
  readonly log: Recorder;
  readonly clock: FakeClock;
}

export interface HeldOptions {
  readonly config?: ConfigInput;
  readonly secrets?: readonly string[];
  readonly clock?: FakeClock;
}

/** The install secret of all that share a store. */
export const secret = 'the install secret of the tests';

/** Opens a registry whose file lies in `directory`, and has it look once. */
export async function hold(t: TestLike, directory: string = temporary(t), { config = {}, secrets = [secret], clock = fakeClock() }: HeldOptions = {}): Promise<Held> {
  const log = recorder();
  const core = { config: resolveConfig({ ...config, audit: { path: join(directory, 'heimdall.db') } }), clock, log };
  const redis = redisOf(core.config, core.log);
  const keys = new GatewayKeys(clock, core.config.auth.keys);
  const registry = new KeyRegistry({ core, redis, keys, secrets: () => secrets });
  t.after(async () => {
    await registry.close();
    await redis?.close();
  });
  await registry.ready();
  return { registry, keys, log, clock };
}

/** A connection of the shared kind. */
export function connection(t: TestLike, url: string): Redis {
  const redis = redisOf(resolveConfig({ secret: 'a secret of sixteen', rateLimit: { redisUrl: url } }), recorder()) as Redis;
  t.after(() => redis.close());
  return redis;
}

/** A key as it rests. */
export const stored = (name: string, over: Partial<StoredKey> = {}): StoredKey => ({
  name, digest: '0'.repeat(64), previous: null, created: 1, expires: null, disabled: false, models: [], cidrs: [], credential: null,
  requests: null, tokens: null, concurrency: null, budget: null, ...over,
});
