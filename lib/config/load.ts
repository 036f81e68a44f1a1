import type { z } from 'zod';
import type { Config, ConfigInput } from '../../types/config.d.ts';
import { complete } from './derive.ts';
import { given, readVariables } from './environment.ts';
import type { Variables } from './expand.ts';
import type { Complaint } from './fields.ts';
import { codeLayer, environmentLayer, fileLayer, type Layer } from './layers.ts';
import { valueAt, without } from './paths.ts';
import { type Path } from './problems.ts';
import { ConfigError } from '../errors.ts';
import { Report } from './report.ts';
import { checkRules } from './rules.ts';
import { type Draft, schema } from './schema.ts';
import type { Tree } from './schema-tree.ts';
import { Sources } from './sources.ts';

export { printable } from './printable.ts';

/** Every configuration made here, and the warnings of its making. */
const made = new WeakMap<Config, readonly string[]>();

/**
 * The configuration of a YAML file and the environment: defaults < file < environment, complete and deep-frozen.
 * Without `path` the file is the one `HEIMDALL_CONFIG` names, if any; relative paths count from the working directory.
 * Without `env` it is `process.env` above a `.env` file in the working directory.
 * Throws a `ConfigError` that lists every problem.
 */
export function loadConfig(path?: string, env?: NodeJS.ProcessEnv): Config {
  return make(path, undefined, env);
}

/**
 * The configuration for `heimdall(config)`: defaults < the file `HEIMDALL_CONFIG` names < environment < code.
 * One that was made here before is returned as it is. Throws a `ConfigError` that lists every problem.
 */
export function resolveConfig(code?: ConfigInput | Config, env?: NodeJS.ProcessEnv): Config {
  return isMade(code) ? code : make(undefined, code, env);
}

/** What was worth a warning when a configuration was made: keys that do nothing yet, harmful orders, secrets in files. */
export function warningsOf(config: Config): readonly string[] {
  return made.get(config) ?? [];
}

function isMade(code: ConfigInput | Config | undefined): code is Config {
  return code !== undefined && made.has(code as Config);
}

function make(path: string | undefined, code: ConfigInput | Config | undefined, env: NodeJS.ProcessEnv | undefined): Config {
  const report = new Report();
  const sources = new Sources(readLayers(path, code, env, report), report);
  const draft = parse(sources.tree, sources);
  if (draft) checkRules(draft, sources);
  if (!draft || report.problems.length > 0) throw new ConfigError(report.problems);
  const config = freeze<Config>(complete(draft));
  made.set(config, Object.freeze(report.warnings));
  return config;
}

function readLayers(
  path: string | undefined,
  code: ConfigInput | Config | undefined,
  env: NodeJS.ProcessEnv | undefined,
  report: Report,
): Layer[] {
  const variables: Variables = env ?? readVariables(report);
  const file = path ?? given(variables, 'HEIMDALL_CONFIG');
  const layers = [environmentLayer(variables)];
  if (file !== undefined) layers.unshift(fileLayer(file, path === undefined ? 'HEIMDALL_CONFIG' : file, variables, report));
  if (code !== undefined) layers.push(codeLayer(code as Tree, report));
  return layers;
}

function parse(tree: Tree, sources: Sources): Draft | undefined {
  const result = schema.safeParse(tree);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const at = issue.path as Path;
    if (!sources.report.sound(at)) continue;
    sources.refuse(at, issue.code === 'custom' ? (issue.params as Complaint) : { expected: 'a section of keys' });
  }
  return parseRest(tree, result.error.issues);
}

/**
 * What is refused is left out and the rest is read again, so that the rules can be checked in the same run. Where something
 * required is missing, the section goes that lacks it.
 */
function parseRest(tree: Tree, [first]: readonly z.core.$ZodIssue[]): Draft | undefined {
  let at = (first?.path ?? []) as Path;
  while (at.length > 0 && valueAt(tree, at) === undefined) at = at.slice(0, -1);
  if (at.length === 0) return undefined;
  const rest = without(tree, at);
  const result = schema.safeParse(rest);
  return result.success ? result.data : parseRest(rest, result.error.issues);
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}
