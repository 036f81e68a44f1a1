import { resolve } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { redisOf, systemClock } from '../platform/platform.ts';
import { loadConfig } from '../config/config.ts';
import type { Core } from '../request/request.ts';
import { expectation, HeimdallError } from '../errors.ts';
import { installSecret } from '../identity/identity.ts';
import { KeyRegistry, statePath } from '../registry/registry.ts';
import { textOf, type Invocation, type Output } from './command.ts';

/** How long a command waits for another command that writes at the same time, in milliseconds. */
const lockTimeout = 5000;

/** Events that the command reports itself. */
const reportedElsewhere = /^(?:registry\.unreadable|redis\.|auth\.no_keys)/;

/** A logger that prints warnings and errors only. */
function problemLogger({ err }: Output): Logger {
  const print = (fields: object, event: string): void => {
    if (!reportedElsewhere.test(event)) err(`${event}: ${JSON.stringify(fields)}\n`);
  };
  return { debug: () => undefined, info: () => undefined, warn: print, error: print };
}

/** The opened registry of a command. */
export interface Opened {
  readonly registry: KeyRegistry;
  readonly config: Config;
  /** Place of the store for messages. Holds no secret. */
  readonly place: string;
}

/** SECURITY: a secret that exists in memory only would encrypt credentials that no gate can decrypt. */
function failWhenInMemory(fields: object, event: string, log: Logger): void {
  if (event === 'secret.in_memory') throw new Error(`The install secret cannot be stored: ${JSON.stringify(fields)}. Set HEIMDALL_SECRET, or run this command as the user of the gateway.`);
  log.warn(fields, event);
}

/** The registry of the gates with this configuration. Its `problem` is the reason when it cannot be read. */
export async function openRegistry(config: Config, output: Output): Promise<{ readonly registry: KeyRegistry; close(): Promise<void> }> {
  const log = problemLogger(output);
  const core = { config, clock: systemClock, log } as Core;
  const redis = redisOf(core.config, core.log);
  const secrets = (): string[] => [installSecret(config, { ...log, warn: (fields, event) => failWhenInMemory(fields, event, log) }), ...config.previousSecrets];
  const registry = new KeyRegistry({ core, redis, keys: { size: config.auth.keys.length, register: () => undefined }, secrets, lockTimeout });
  await registry.ready();
  const close = async (): Promise<void> => {
    await registry.close();
    await redis?.close();
  };
  return { registry, close };
}

/**
 * Runs a command on the keys and bans of the gates with the same configuration.
 * @throws Error with the reason when the store cannot be used.
 */
export async function withRegistry(invocation: Invocation, use: (opened: Opened) => Promise<void>): Promise<number> {
  const config = loadConfig(textOf(invocation, 'config'));
  if (!config.audit.enabled && config.rateLimit.redisUrl === null) throw new Error(`audit: ${expectation('a journal, beside which keys and bans are kept', 'false', 'audit: { path: data/heimdall.db }')}`);
  const { registry, close } = await openRegistry(config, invocation.output);
  const place = placeOf(config);
  try {
    if (registry.problem !== null) throw new Error(`The keys and bans in ${place} cannot be read: ${registry.problem}`);
    await use({ registry, config, place });
  } catch (error) {
    if (!(error instanceof HeimdallError && error.code === 'registry_unavailable')) throw error;
    const { cause } = error;
    throw new Error(`The keys and bans in ${place} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  } finally {
    await close();
  }
  return 0;
}

/** SECURITY: the URL may hold a password. */
const placeOf = ({ rateLimit: { redisUrl }, audit }: Config): string => (redisUrl === null ? resolve(statePath(audit.path)) : 'the Redis of rate_limit.redis_url');
