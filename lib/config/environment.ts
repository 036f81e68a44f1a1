import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { expand } from 'dotenv-expand';
import type { Variables } from './expand.ts';
import { type Path, whyUnreadable } from './problems.ts';
import type { Report } from './report.ts';
import type { Tree } from './schema-tree.ts';

/** An environment variable: the key that it sets, or a description of its own. */
export interface Variable {
  readonly name: string;
  readonly at?: Path;
  readonly summary?: string;
}

/** Every environment variable that is read. An empty variable counts as unset. */
export const VARIABLES: readonly Variable[] = [
  { name: 'NEWAPI_BASE_URL', at: ['newapi', 'baseUrl'] },
  { name: 'HEIMDALL_PORT', at: ['server', 'port'] },
  { name: 'HEIMDALL_HOST', at: ['server', 'host'] },
  { name: 'TLS_CERT_PATH', at: ['server', 'tls', 'certPath'] },
  { name: 'TLS_KEY_PATH', at: ['server', 'tls', 'keyPath'] },
  { name: 'HEIMDALL_SECRET', at: ['secret'] },
  { name: 'HEIMDALL_CONFIG', summary: 'Path of the configuration file' },
  { name: 'HEIMDALL_ADMIN_TOKEN', at: ['admin', 'token'] },
  { name: 'REDIS_URL', at: ['rateLimit', 'redisUrl'] },
  { name: 'DATABASE_URL', at: ['audit', 'postgres', 'url'] },
  { name: 'HTTPS_PROXY', summary: 'Proxy for connections to https upstreams, see `proxy`. Also in lower case' },
  { name: 'HTTP_PROXY', summary: 'Proxy for connections to http upstreams, see `proxy`. Also in lower case' },
  { name: 'NO_PROXY', summary: 'Hosts that are reached without a proxy: names with their subdomains, addresses, CIDRs, `host:port` or `*`. Also in lower case' },
];

/**
 * The variables of the process, above those of a `.env` file in the working directory.
 * `process.env` is not changed.
 */
export function readVariables(report: Report): Variables {
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

/** The settings of the variables as a tree of camelCase keys. */
export function variablesTree(variables: Variables): Tree {
  const tree: Branch = {};
  for (const { name, at } of VARIABLES) {
    const value = given(variables, name);
    if (value === undefined) continue;
    if (at) setAt(tree, at, value);
  }
  return tree;
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
