import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../lib/config/load.ts';
import { ConfigError } from '../../lib/errors.ts';
import type { Config } from '../../types/config.d.ts';
import { scratch } from '../support/scratch.ts';

/** A new directory of its own. */
export function directory(): string {
  return scratch();
}

/** A new file with this text, readable by its owner alone; returns its path. */
export function file(text: string, name = 'heimdall.yaml', mode = 0o600): string {
  const path = join(directory(), name);
  writeFileSync(path, text, { mode });
  return path;
}

/** The configuration of a YAML text and an environment. */
export function load(yaml: string, env: NodeJS.ProcessEnv = {}): Config {
  return loadConfig(file(yaml), env);
}

/** The lines a configuration is refused with; an empty list when it is not. */
export function refusals(attempt: () => unknown): string[] {
  try {
    attempt();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
}

/** The lines a YAML text is refused with. */
export function problems(yaml: string, env: NodeJS.ProcessEnv = {}): string[] {
  return refusals(() => load(yaml, env));
}
