import type { Config } from '../../types/config.d.ts';
import { OutboundProxy } from '../platform/platform.ts';
import { textOf, type Command, type Output } from './command.ts';

/** The command `check`: validates the configuration and prints the effective one. */
export const check: Command = {
  name: 'check',
  args: [],
  summary: 'validate and print the configuration, secrets masked',
  options: {},
  run: async (invocation) => {
    const { loadConfig, printable, proxyEnvironment, proxyWarnings, warningsOf } = await import('../config/config.ts');
    const { stringify } = await import('yaml');
    const config = loadConfig(textOf(invocation, 'config'));
    invocation.output.out(stringify(printable(config)));
    const environment = proxyEnvironment(config, true);
    const proxies = environment === null ? null : new OutboundProxy(environment);
    const proxied = proxies === null ? [] : proxyWarnings(config, (url) => proxies.hopTo(url) === null);
    const warnings = [...warningsOf(config), ...proxied, ...(await keyWarnings(config, invocation.output))];
    for (const warning of warnings) invocation.output.err(`warning: ${warning}\n`);
    invocation.output.err(`The configuration is valid${warnings.length === 0 ? '' : `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`}.\n`);
    return 0;
  },
};

/** Warnings about keys. Keys in Redis are not read, because a check uses no network. */
async function keyWarnings(config: Config, output: Output): Promise<string[]> {
  const { auth, rateLimit } = config;
  if (auth.mode !== 'keys' || auth.keys.length > 0 || rateLimit.redisUrl !== null) return [];
  const { openRegistry } = await import('./registry.ts');
  const { registry, close } = await openRegistry(config, output);
  const found = registry.keys().length;
  await close();
  if (registry.problem !== null) return [`auth.keys: there are none, and the keys of heimdall keys cannot be read: ${registry.problem}`];
  return found > 0 ? [] : ['auth.keys: there are none yet, so every request that requires a key is answered with 401. Example: heimdall keys create team-a'];
}
