import dns from 'node:dns/promises';
import { accessSync, constants, statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import { hostWarnings, isHere, isOwnPort, itself, loadConfig, printable, proxyEnvironment, proxyWarnings, warningsOf } from '../config/config.ts';
import { suggestion, whyUnreadable } from '../values/values.ts';
import { ConfigError, type Problem } from '../errors.ts';
import { OutboundProxy } from '../platform/platform.ts';
import { routeTable } from '../upstream/upstream.ts';
import { budgetsOf, unpricedBudgets } from '../usage/usage.ts';
import { type ProductionCheck, productionChecks } from './production.ts';
import { printJson, textOf, UsageError, type Action, type Invocation, type Output } from './command.ts';

/** The command `check`: validates the configuration, prints the effective one, and says what will not work as it looks. */
export const check: Action = {
  examples: ['heimdall check heimdall.yaml', 'heimdall check --json --config heimdall.yaml', 'heimdall check --production'],
  options: { production: { type: 'boolean', summary: 'judge it by the production list of the security guide (exit code 1: a line fails)' }, json: { type: 'boolean', summary: 'print one JSON document: valid, problems, warnings, config' } },
  run: async (invocation) => {
    const { output, values } = invocation;
    try {
      const config = loadConfig(pathOf(invocation));
      if (values['production']) return judge(invocation, productionChecks(config, warningsOf(config)));
      const warnings = [...warningsOf(config), ...(await adviceOn(config, output))];
      if (values['json']) printJson(invocation, { valid: true, problems: [], warnings, config: printable(config) });
      else await print(config, warnings, output);
      return 0;
    } catch (error) {
      if (!values['json'] || !(error instanceof ConfigError)) throw error;
      printJson(invocation, { valid: false, problems: error.problems, warnings: [] });
      return 1;
    }
  },
};

function pathOf(invocation: Invocation): string | undefined {
  const [file] = invocation.names;
  const option = textOf(invocation, 'config');
  if (file !== undefined && option !== undefined) throw new UsageError(`heimdall check: expected either FILE or --config, got both, ${file} and ${option}.`);
  return file ?? option;
}

const styles = { pass: 'green', fail: 'red', 'not applicable': 'yellow' } as const;

/** Prints the production list, a line a check. @returns the exit code. */
function judge(invocation: Invocation, checks: readonly ProductionCheck[]): number {
  if (invocation.values['json']) printJson(invocation, { checks });
  else for (const { state, text, found } of checks) invocation.output.out(`${state.padEnd(14)}  ${text}: ${found}\n`, styles[state]);
  return checks.some(({ state }) => state === 'fail') ? 1 : 0;
}

async function print(config: Config, warnings: readonly string[], output: Output): Promise<void> {
  const { stringify } = await import('yaml');
  output.out(stringify(printable(config)));
  for (const warning of warnings) output.err(`warning: ${warning}\n`, 'yellow');
  output.err(`The configuration is valid${warnings.length === 0 ? '' : `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`}.\n`, warnings.length === 0 ? 'green' : 'yellow');
}

/** Warnings that a running gate finds out by itself, or that need more than the configuration. @throws ConfigError. */
async function adviceOn(config: Config, output: Output): Promise<string[]> {
  const environment = proxyEnvironment(config, true);
  const proxies = environment === null ? null : new OutboundProxy(environment);
  const proxied = proxies === null ? [] : proxyWarnings(config, (url) => proxies.hopTo(url) === null);
  return [...proxied, ...hostWarnings(config, {}), ...fileWarnings(config), ...(await selfWarnings(config)), ...(await placeWarnings(config)), ...routeWarnings(config), ...(await unpricedBudgets(config, budgetsOf(config))), ...(await keyWarnings(config, output))];
}

/** How long names are looked up, milliseconds. */
const lookupTime = 2000;

/** Base URLs at the gate's own port under a name that leads to its own address. */
async function selfWarnings(config: Config): Promise<string[]> {
  const { newapi, audit, llm, server } = config;
  const urls: (readonly [at: string, url: string | null])[] = [['newapi.base_url', newapi.baseUrl], ['audit.newapi.url', audit.newapi.url], ['llm.endpoint', llm.endpoint], ...llm.backupProviders.map(({ endpoint }, index) => [`llm.backup_providers[${index}].endpoint`, endpoint] as const)];
  const found = await Promise.all(urls.map(async ([at, url]) => {
    if (url === null || !isOwnPort(url, config)) return [];
    const { hostname } = new URL(url);
    // A name that is the gate's as it stands is told without a lookup.
    if (isHere(hostname, server.host)) return [];
    const late = new Promise<[]>((resolve) => setTimeout(resolve, lookupTime, []).unref());
    const addresses = await Promise.race([dns.lookup(hostname.replace(/^\[|\]$/g, ''), { all: true }).catch(() => []), late]);
    return addresses.some(({ address }) => isHere(address, server.host)) ? [`${at}: ${hostname} ${itself(server.port)}`] : [];
  }));
  return found.flat();
}

/** The file that says where addresses are. */
async function placeWarnings({ anomaly: { mode, mmdb } }: Config): Promise<string[]> {
  if (mmdb === null || mode === 'off') return [];
  const { whyNoPlaces } = await import('../anomaly/anomaly.ts');
  const why = whyNoPlaces(resolve(mmdb));
  return why === null ? [] : [`anomaly.mmdb: expected a file in MaxMind's format, got ${JSON.stringify(mmdb)} (${why}); the watch goes on without places`];
}

/** Files that the gate writes. @throws ConfigError when it would not start without one. */
function fileWarnings({ audit, logging, queue, middleware }: Config): string[] {
  const files: (readonly [name: string, path: string | false | null, effect: string])[] = [
    ['audit.path', audit.enabled ? audit.path : null, 'records would be lost with the process'],
    ['logging.file', middleware?.includes('logging') === false ? null : logging.file, 'the access log would go to the console alone'],
    ['queue.state_path', queue.statePath, 'the state of the queue would not be kept'],
  ];
  const problems: Problem[] = [];
  const warnings: string[] = [];
  for (const [path, file, effect] of files) {
    const why = file === null || file === false ? null : whyUnwritable(resolve(file), path === 'queue.state_path');
    if (why === null) continue;
    const message = `expected a file that can be written, got ${JSON.stringify(file)} (${why})`;
    if (path === 'audit.path' && (audit.durability === 'strict' || audit.onFull === 'refuse')) problems.push({ path, message: `${message}. Example: data/heimdall.db` });
    else warnings.push(`${path}: ${message}; ${effect}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return warnings;
}

/** File systems that let root write and make no file: procfs, sysfs, cgroup and cgroup2, by their numbers in Linux. */
const kernelFiles: ReadonlySet<number> = new Set([0x9f_a0, 0x62_65_65_72, 0x27_e0_eb, 0x63_67_72_70]);

/** Why a file cannot be written, or made in a directory that may have to be made first; null when it can. */
export function whyUnwritable(path: string, mayBeDirectory: boolean): string | null {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory() && !mayBeDirectory) return 'a directory';
  let at = there === undefined ? dirname(path) : path;
  try {
    while (statSync(at, { throwIfNoEntry: false }) === undefined && dirname(at) !== at) at = dirname(at);
    if (at !== path && !statSync(at).isDirectory()) return `${at} is a file`;
    accessSync(at, constants.W_OK);
    return kernelFiles.has(statfsSync(at).type) ? `${at} holds files of the kernel alone` : null;
  } catch (error) {
    return `${at}: ${(error as NodeJS.ErrnoException).code === 'EROFS' ? 'a read-only file system' : whyUnreadable(error)}`;
  }
}

/** Policies whose route is on no path that needs a credential, so that no request is counted. */
function routeWarnings({ rateLimit: { policies }, routes: configured }: Config): string[] {
  const counted = [...routeTable([]).routes.filter(({ credential }) => credential).map(({ template }) => template), ...configured.map(({ path }) => path)];
  return policies.flatMap(({ match: { route } }, index) => {
    if (route === null || counted.some((template) => overlap(route, template))) return [];
    return [`rate_limit.policies[${index}].match.route: ${route} matches no route that has limits.${suggestion(route, counted) || ' Example: /v1/images/*'}`];
  });
}

/** Whether some path matches both: a trailing `*` is any rest, `:name` in a template is one segment. */
function overlap(pattern: string, template: string): boolean {
  if (pattern === template) return true;
  const form = template.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll(/:\w+/g, '[^/]+').replace(/\*$/, '.*');
  if (!pattern.endsWith('*')) return new RegExp(`^${form}$`).test(pattern);
  const [ours, theirs] = [pattern.slice(0, -1), template.split(/[*:]/, 1)[0] as string];
  return theirs.startsWith(ours) || (theirs !== '/' && ours.startsWith(theirs));
}

/** Warnings about keys. Keys in Redis are not read, because a check uses no network. */
async function keyWarnings(config: Config, output: Output): Promise<string[]> {
  const { auth, rateLimit } = config;
  if (rateLimit.redisUrl !== null) return [];
  const named = namedKeys(config);
  const isKeyless = auth.mode === 'keys' && auth.keys.length === 0;
  if (!isKeyless && named.length === 0) return [];
  const { openRegistry } = await import('./registry.ts');
  const { registry, close } = await openRegistry(config, output);
  const names = new Set(registry.keys().map(({ name }) => name));
  await close();
  if (registry.problem !== null) return isKeyless ? [`auth.keys: there are none, and the keys of heimdall keys cannot be read: ${registry.problem}`] : [];
  const warnings = named.flatMap(([at, name]) => {
    if (auth.mode === 'passthrough') return [`${at}: ${JSON.stringify(name)} matches nothing, because no request has a key of the gate while auth.mode is passthrough`];
    return names.has(name) ? [] : [`${at}: there is no key named ${JSON.stringify(name)}, so it matches nothing yet.${suggestion(name, names)}`];
  });
  if (isKeyless && names.size === 0) warnings.push('auth.keys: there are none yet, so every request that requires a key is answered with 401. Example: heimdall keys create team-a');
  return warnings;
}

/** Names of keys in policies and exemptions. Identities of tokens, tokens, addresses, JWT subjects and patterns are no such names. */
function namedKeys({ rateLimit: { policies, exempt } }: Config): (readonly [at: string, name: string])[] {
  const all = [...policies.map(({ match }, index) => [`rate_limit.policies[${index}].match.token`, match.token] as const), ...exempt.map((name, index) => [`rate_limit.exempt[${index}]`, name] as const)];
  return all.flatMap(([at, name]) => (name === null || /^[0-9a-f]{16}$|^sk-|^jwt:|^user:|[*/]|^[\d.]+$|:.*:/.test(name) ? [] : [[at, name] as const]));
}
