import { randomUUID } from 'node:crypto';
import type { Config } from '../../types/config.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { secretScrubber } from '../redaction/redaction.ts';
import { fail, ok, warn, type Check, type Finding } from './doctor-check.ts';
import { json, printJson, textOf, UsageError, type Action, type Invocation } from './command.ts';

/** How long a check may take, milliseconds. All run at once. */
const patience = 2000;

/** The command `doctor`: looks at everything around the gate, which need not run. */
export const doctor: Action = {
  options: {
    url: { type: 'string', value: 'PUBLIC_URL', summary: 'also ask the gate by its public URL, through every proxy in front' },
    json,
  },
  examples: ['heimdall doctor -c heimdall.yaml', 'heimdall doctor --url https://llm.example.com'],
  run: async (invocation) => {
    const url = urlOf(invocation);
    const { config, findings: loaded } = await configuration(textOf(invocation, 'config'));
    const { isLate, findings } = await examined(config === null ? [] : await checksOf(config, url));
    const { secretsOf } = await import('../config/config.ts');
    const scrub = secretScrubber(config === null ? [] : secretsOf(config));
    const clean = (text: string): string => scrub(text).replaceAll(/\s+/g, ' ').trim();
    // The rest was looked at without a certificate that cannot be used.
    const isRefused = loaded.some(({ name }) => name === 'certificate');
    const checks = [...loaded, ...findings.filter(({ name }) => !isRefused || name !== 'certificate')].map(({ text, fix, ...rest }) => ({ ...rest, text: clean(text), ...(fix !== undefined && { fix: clean(fix) }) }));
    print(invocation, checks);
    const code = checks.some(({ state }) => state === 'fail') ? 1 : 0;
    // A name that no resolver answers for keeps the process for many seconds, and cannot be given up.
    if (isLate) invocation.output.leave?.(code);
    return code;
  },
};

function urlOf(invocation: Invocation): URL | null {
  const text = textOf(invocation, 'url');
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') throw new UsageError(`--url: ${expectation('an http or https URL without a user', JSON.stringify(URL.parse(text)?.host ?? text), 'https://llm.example.com')}`);
  return url;
}

const styles = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function print(invocation: Invocation, checks: readonly Finding[]): void {
  if (invocation.values['json']) return printJson(invocation, { checks });
  const width = Math.max(...checks.map(({ name }) => name.length));
  for (const { name, state, text, fix } of checks) invocation.output.out(`${state.padEnd(4)}  ${name.padEnd(width)}  ${text}${fix === undefined ? '' : `${/[.?]$/.test(text) ? '' : '.'} Fix: ${fix}`}\n`, styles[state]);
}

/** Loads the configuration. Where only a certificate or the secret is wrong, the rest is looked at without it. */
async function configuration(path: string | undefined): Promise<{ config: Config | null; findings: readonly Finding[] }> {
  const { loadConfig, loadSettings, warningsOf, fileOf } = await import('../config/config.ts');
  const name = 'configuration';
  try {
    const config = loadConfig(path);
    const warnings = warningsOf(config).filter((warning) => !isOfTls(warning));
    const [first] = warnings;
    if (first !== undefined) return { config, findings: [warn(name, `valid, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}: ${first}`, 'heimdall check shows each with what mends it')] };
    return { config, findings: [ok(name, `${fileOf(config) ?? 'environment and defaults, without a file'}: valid`)] };
  } catch (error) {
    if (!(error instanceof ConfigError)) return { config: null, findings: [fail(name, error instanceof Error ? error.message : String(error), 'name a file that can be read: heimdall doctor -c FILE')] };
    const findings = error.problems.map(({ path: at, message }) => fail(isOfTls(at) ? 'certificate' : name, `${at}: ${message}`, isOfTls(at) ? 'name a certificate and its own key in server.tls' : `correct ${at || 'the file'}; heimdall check says more`));
    if (error.problems.some(({ path: at }) => !isOfTls(at) && at !== 'secret')) return { config: null, findings: [...findings, warn('rest', 'nothing else was looked at, since the configuration cannot be used', 'correct it and run heimdall doctor again')] };
    try {
      const without = { ...(error.problems.some(({ path: at }) => isOfTls(at)) && { server: { tls: null } }), ...(error.problems.some(({ path: at }) => at === 'secret') && { secret: randomUUID() }) };
      return { config: loadSettings({ path, code: without }), findings };
    } catch {
      return { config: null, findings };
    }
  }
}

const isOfTls = (text: string): boolean => /^(?:server\.tls|TLS_)/.test(text);

async function checksOf(config: Config, url: URL | null): Promise<readonly Check[]> {
  const [{ machineChecks }, { neighborChecks }, { arrivalCheck }] = await Promise.all([import('./doctor-machine.ts'), import('./doctor-neighbors.ts'), import('./doctor-arrival.ts')]);
  return [...machineChecks(config), ...neighborChecks(config), ...(url === null ? [] : [arrivalCheck(config, url)])];
}

async function examined(checks: readonly Check[]): Promise<{ isLate: boolean; findings: readonly Finding[] }> {
  const controller = new AbortController();
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(() => {
    late.resolve(null);
    controller.abort();
  }, patience);
  const found = await Promise.all(checks.map(({ name, run }) => Promise.race([late.promise, foundBy(name, async () => run(controller.signal))])));
  clearTimeout(timer);
  const silent = (at: number): Finding => fail(checks[at]?.name ?? '', `no answer within ${patience / 1000} s`, 'see that its address is right and that no firewall drops the packets');
  return { isLate: found.includes(null), findings: found.flatMap((findings, at) => findings ?? [silent(at)]) };
}

/** SECURITY: the message of an unexpected error is scrubbed by the caller. */
async function foundBy(name: string, run: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    return [fail(name, error instanceof Error ? error.message : String(error), 'see the message')];
  }
}
