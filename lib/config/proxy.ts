import { ConfigError, expectation, type Problem } from '../errors.ts';
import type { Config } from '../../types/config.d.ts';
import { given, readVariables } from './environment.ts';
import { show } from '../values/values.ts';
import { Report } from './report.ts';
import type { Variables } from './expand.ts';

/** The proxy variables of the environment. The URLs are valid and have the scheme http or https. */
export interface ProxyEnvironment {
  readonly http: string | null;
  readonly https: string | null;
  readonly noProxy: string;
}

/**
 * The proxy variables that take effect, or null without a proxy. A lower-case variable takes precedence, as in curl.
 * @param standalone whether the process belongs to the gate.
 * @param env default: `process.env`, above a `.env` file in the working directory.
 * @throws ConfigError when a variable is not the URL of an HTTP proxy.
 */
export function proxyEnvironment({ proxy }: Pick<Config, 'proxy'>, standalone: boolean, env?: Variables): ProxyEnvironment | null {
  if (proxy === 'off' || (proxy === null && !standalone)) return null;
  const report = new Report();
  const variables = env ?? readVariables(report);
  const problems: Problem[] = [...report.problems];
  const [http, https] = ['HTTP_PROXY', 'HTTPS_PROXY'].map((name) => urlOf(variables, name, problems));
  if (problems.length > 0) throw new ConfigError(problems);
  if (http === null && https === null) return null;
  return { http: http ?? null, https: https ?? null, noProxy: valueOf(variables, 'NO_PROXY')?.value ?? '' };
}

/**
 * Warnings about upstreams on this machine that a proxy would be asked for.
 * @param isDirect whether a URL is reached without the proxy.
 */
export function proxyWarnings({ newapi, llm }: Config, isDirect: (url: URL) => boolean): string[] {
  const urls = [newapi.baseUrl, ...[llm, ...llm.backupProviders].map(({ endpoint }) => endpoint)].flatMap((text) => (text === null ? [] : [new URL(text)]));
  const local = new Set(urls.filter((url) => /^(?:localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname) && !isDirect(url)).map(({ hostname }) => hostname));
  return [...local].map((name) => `NO_PROXY: ${name} is on this machine and reached through the proxy; add it to NO_PROXY, or set proxy: off`);
}

function valueOf(variables: Variables, name: string): { readonly name: string; readonly value: string } | null {
  for (const each of [name.toLowerCase(), name]) {
    const value = given(variables, each);
    if (value !== undefined) return { name: each, value };
  }
  return null;
}

/** A URL without a scheme is an http one, as in curl. */
function urlOf(variables: Variables, name: string, problems: Problem[]): string | null {
  const found = valueOf(variables, name);
  if (found === null) return null;
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(found.value) ? found.value : `http://${found.value}`;
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && decodes(url)) return url.href;
  problems.push({ path: found.name, message: expectation('the URL of an HTTP proxy', show(text), 'http://proxy.example.com:3128') });
  return null;
}

function decodes({ username, password }: URL): boolean {
  try {
    decodeURIComponent(`${username}:${password}`);
    return true;
  } catch {
    return false;
  }
}
