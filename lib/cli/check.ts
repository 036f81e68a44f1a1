import type { Config } from '../../types/config.d.ts';
import { textOf, type Command, type Say } from './command.ts';

/** Says whether a configuration is valid and what it comes to. */
export const check: Command = {
  name: 'check',
  wants: [],
  what: 'validate the configuration and print what is in force, secrets masked',
  options: {},
  run: async (given) => {
    const { loadConfig, printable, warningsOf } = await import('../config/config.ts');
    const { stringify } = await import('yaml');
    const config = loadConfig(textOf(given, 'config'));
    given.say.out(stringify(printable(config)));
    const warnings = [...warningsOf(config), ...(await aboutKeys(config, given.say))];
    for (const warning of warnings) given.say.err(`warning: ${warning}\n`);
    given.say.err(`The configuration is valid${warnings.length === 0 ? '' : `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`}.\n`);
    return 0;
  },
};

/** A check needs no network: what is in Redis is not asked. */
async function aboutKeys(config: Config, say: Say): Promise<string[]> {
  const { auth, rateLimit } = config;
  if (auth.mode !== 'keys' || auth.keys.length > 0 || rateLimit.redisUrl !== null) return [];
  const { openRegistry } = await import('./registry.ts');
  const { registry, close } = await openRegistry(config, say);
  const found = registry.keys().length;
  await close();
  if (registry.problem !== null) return [`auth.keys: there are none, and those made by heimdall keys cannot be read: ${registry.problem}`];
  return found > 0 ? [] : ['auth.keys: there are none yet, so every request that needs a key is answered with 401. Example: heimdall keys create team-a'];
}
