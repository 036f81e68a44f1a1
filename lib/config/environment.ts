import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { expand } from 'dotenv-expand';
import type { Variables } from './expand.ts';
import { type Path, show, suggestion, whyUnreadable } from '../values/values.ts';
import type { Report } from './report.ts';
import type { Tree } from './schema-tree.ts';
import { expectation } from '../errors.ts';

/** An environment variable: the key that it sets, or a description of its own. */
export interface Variable {
  readonly name: string;
  readonly at?: Path;
  readonly summary?: string;
  /** The value is a secret: `NAME_FILE` may give its file, and an empty value is an error. */
  readonly secret?: true;
}

/** Every environment variable that is read. An empty variable counts as unset, except one for a secret. */
export const VARIABLES: readonly Variable[] = [
  { name: 'NEWAPI_BASE_URL', at: ['newapi', 'baseUrl'] },
  { name: 'HEIMDALL_PORT', at: ['server', 'port'] },
  { name: 'HEIMDALL_HOST', at: ['server', 'host'] },
  { name: 'TLS_CERT_PATH', at: ['server', 'tls', 'certPath'] },
  { name: 'TLS_KEY_PATH', at: ['server', 'tls', 'keyPath'] },
  { name: 'HEIMDALL_SECRET', at: ['secret'], secret: true },
  { name: 'HEIMDALL_CONFIG', summary: 'Path of the configuration file' },
  { name: 'HEIMDALL_ADMIN_TOKEN', at: ['admin', 'token'], secret: true },
  { name: 'HEIMDALL_METRICS_TOKEN', at: ['metrics', 'token'], secret: true },
  { name: 'REDIS_URL', at: ['rateLimit', 'redisUrl'], secret: true },
  { name: 'DATABASE_URL', at: ['audit', 'postgres', 'url'], secret: true },
  { name: 'HTTPS_PROXY', summary: 'Proxy for connections to https upstreams, see `proxy`. Also in lower case' },
  { name: 'HTTP_PROXY', summary: 'Proxy for connections to http upstreams, see `proxy`. Also in lower case' },
  { name: 'NO_PROXY', summary: 'Hosts that are reached without a proxy: names with their subdomains, addresses, CIDRs, `host:port` or `*`. Also in lower case' },
];

/**
 * The variables of the process, above those of a `.env` file in the working directory.
 * `process.env` is not changed.
 */
export function readVariables(report: Report): Variables {
  report.files.add('.env');
  try {
    const parsed = parseEnv(readFileSync('.env', 'utf8')) as Record<string, string>;
    const processEnv = { ...process.env } as Record<string, string>;
    return { ...expand({ parsed, processEnv }).parsed, ...process.env };
  } catch (error) {
    const why = whyUnreadable(error);
    if (why !== 'no such file') report.problem(null, '.env', `expected a readable file, got ${why}`);
    return process.env;
  }
}

/** A setting of a variable. */
export interface Setting {
  /** `HEIMDALL_SECRET`, or `HEIMDALL_SECRET_FILE` where the value comes from a file. */
  readonly name: string;
  readonly at: Path;
  readonly value: string;
}

/** The settings of the variables. A variable that Kubernetes or Docker has set for a service named heimdall sets nothing. */
export function settingsOf(variables: Variables, report: Report): readonly Setting[] {
  return VARIABLES.flatMap(({ name, at, secret }): Setting[] => {
    if (at === undefined || isOfService(name, variables[name])) return [];
    const setting = secret ? secretOf(name, at, variables, report) : { name, value: given(variables, name) };
    return setting?.value === undefined ? [] : [{ name: setting.name, at, value: setting.value }];
  });
}

/** The settings as a tree of camelCase keys. */
export function variablesTree(settings: readonly Setting[]): Tree {
  const tree: Branch = {};
  for (const { at, value } of settings) setAt(tree, at, value);
  return tree;
}

/** A secret of `NAME`, or of the file that `NAME_FILE` names. */
function secretOf(name: string, at: Path, variables: Variables, report: Report): { readonly name: string; readonly value: string } | undefined {
  const fileName = `${name}_FILE`;
  const [value, path] = [variables[name], variables[fileName]];
  const empty = value === '' ? name : path === '' ? fileName : undefined;
  if (empty !== undefined) report.problem(at, empty, expectation(empty === name ? 'a secret' : 'the path of a file with the secret', 'an empty value; unset the variable to leave it out', `${fileName}=/run/secrets/${name.toLowerCase()}`));
  else if (value !== undefined && path !== undefined) report.problem(at, fileName, expectation(`either this or ${name}`, 'both'));
  else if (path !== undefined) return secretFile(path, at, fileName, report);
  else if (value !== undefined) return { name, value };
  return undefined;
}

function secretFile(path: string, at: Path, name: string, report: Report): { readonly name: string; readonly value: string } | undefined {
  const value = readSecretFile(path, report, (why) => report.problem(at, name, expectation('a readable file with a secret', `${show(path)}${why}`, '/run/secrets/heimdall')));
  return value === undefined ? undefined : { name, value };
}

/**
 * The secret in a file, without its last line break.
 * @param report is told which file is read.
 * @param refuse called with what is wrong with the file, as its path is to be followed by.
 */
export function readSecretFile(path: string, report: Report, refuse: (why: string) => void): string | undefined {
  report.files.add(path);
  try {
    const secret = readFileSync(path, 'utf8').replace(/[\r\n]+$/, '');
    if (secret !== '') return secret;
    refuse(', which is empty');
  } catch (error) {
    refuse(` (${whyUnreadable(error)})`);
  }
  return undefined;
}

/** Names that Kubernetes, or Docker for linked containers, derives from the name of a service (kubernetes.io, Service Environment Variables). */
const serviceName = /^HEIMDALL_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$|^HEIMDALL_(?:ENV_\w+|NAME)$/;

const isOfService = (name: string, value: string | undefined): boolean =>
  serviceName.test(name) || (/^HEIMDALL_(?:\w+_)?PORT$/.test(name) && /^(?:tcp|udp|sctp):\/\//.test(value ?? ''));

/**
 * Warns about variables that begin with `HEIMDALL_` and set nothing.
 * @param used names that the configuration file reads.
 */
export function warnOfUnread(variables: Variables, used: ReadonlySet<string>, report: Report): void {
  const own = Object.keys(variables).filter((name) => /^heimdall_/i.test(name) && variables[name] !== undefined);
  const ofService = own.filter((name) => isOfService(name, variables[name]));
  const [first] = ofService.includes('HEIMDALL_PORT') ? ['HEIMDALL_PORT'] : ofService;
  if (first !== undefined) report.warn(first, `is set by Kubernetes or Docker for a service of that name, ${show(variables[first])}; ignored${ofService.length > 1 ? `, as ${ofService.length - 1} more of its kind` : ''}. Set server.port in the file, or enableServiceLinks: false in the pod`);
  const known = VARIABLES.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]));
  for (const name of own) {
    if (known.includes(name) || used.has(name) || ofService.includes(name)) continue;
    const bare = new Map(known.map((each) => [each.replace('HEIMDALL_', ''), each]));
    const [, guess] = /Did you mean (\w+)/.exec(suggestion(name.slice(9), bare.keys())) ?? [];
    report.warn(name, `unknown variable; ignored.${guess === undefined ? ' The settings of the file have other names: heimdall check lists them' : ` Did you mean ${bare.get(guess)}?`}`);
  }
}

/** The value of a variable, or undefined when it is unset or empty. */
export function given(variables: Variables, name: string): string | undefined {
  return variables[name] === '' ? undefined : variables[name];
}

interface Branch {
  [key: string]: unknown;
}

function setAt(tree: Branch, at: Path, value: string): void {
  const [step, ...rest] = at;
  if (step === undefined) return;
  if (rest.length === 0) tree[step] = value;
  else setAt((tree[step] ??= {}) as Branch, rest, value);
}
