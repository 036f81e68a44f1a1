import { resolve } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { redisOf, systemClock } from '../platform/platform.ts';
import { loadConfig } from '../config/config.ts';
import type { Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { installSecret } from '../identity/identity.ts';
import { KeyRegistry, statePath } from '../registry/registry.ts';
import { textOf, type Given, type Say } from './command.ts';

/** Scripts that change keys at the same moment wait for each other this long, milliseconds. */
const patience = 5000;

/** The command says these itself. */
const saidElsewhere = /^(?:registry\.unreadable|redis\.|auth\.no_keys)/;

/** What the gates say in their event log is theirs to say; here only what is wrong matters. */
function complaints({ err }: Say): Logger {
  const complain = (fields: object, event: string): void => {
    if (!saidElsewhere.test(event)) err(`${event}: ${JSON.stringify(fields)}\n`);
  };
  return { debug: () => undefined, info: () => undefined, warn: complain, error: complain };
}

/** A command's way to the store. */
export interface Opened {
  readonly registry: KeyRegistry;
  readonly config: Config;
  /** Where keys and bans rest, as people may read it. */
  readonly place: string;
}

/** SECURITY: what a secret seals that dies with this process, no gate could open. */
function keptOrNot(fields: object, event: string, log: Logger): void {
  if (event === 'secret.in_memory') throw new Error(`The install secret cannot be kept: ${JSON.stringify(fields)}. Give it by HEIMDALL_SECRET, or run as the user the gate runs as.`);
  log.warn(fields, event);
}

/** The registry of the gates with this configuration, as it is now; `problem` says why it could not be read. */
export async function openRegistry(config: Config, say: Say): Promise<{ readonly registry: KeyRegistry; close(): Promise<void> }> {
  const log = complaints(say);
  const core = { config, clock: systemClock, log } as Core;
  const redis = redisOf(core.config, core.log);
  const secrets = (): string[] => [installSecret(config, { ...log, warn: (fields, event) => keptOrNot(fields, event, log) }), ...config.previousSecrets];
  const registry = new KeyRegistry({ core, redis, keys: { size: config.auth.keys.length, register: () => undefined }, secrets, patience });
  await registry.ready();
  const close = async (): Promise<void> => {
    await registry.close();
    await redis?.close();
  };
  return { registry, close };
}

/**
 * Lets a command use the keys and bans that the gates with the same configuration use.
 * @throws an error that says why the store cannot be used.
 */
export async function withRegistry(given: Given, use: (opened: Opened) => Promise<void>): Promise<number> {
  const config = loadConfig(textOf(given, 'config'));
  const { registry, close } = await openRegistry(config, given.say);
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
