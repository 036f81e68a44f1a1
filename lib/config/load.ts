import type { z } from 'zod';
import type { Config, ConfigInput } from '../../types/config.d.ts';
import { derive } from './derive.ts';
import { given, readVariables, warnOfUnread } from './environment.ts';
import type { Variables } from './expand.ts';
import type { Mismatch } from './fields.ts';
import { codeLayer, environmentLayer, fileLayer, type Layer, textLayer } from './layers.ts';
import { valueAt, without } from './paths.ts';
import type { Path } from '../values/values.ts';
import { ConfigError, type Problem } from '../errors.ts';
import { printable } from './printable.ts';
import { succession, type Succession } from './reload.ts';
import { Report } from './report.ts';
import { checkRules } from './rules.ts';
import { type ParsedConfig, schema } from './schema.ts';
import type { Tree } from './schema-tree.ts';
import { Sources } from './sources.ts';

export { printable };

/** What is known of a loaded configuration. */
interface Origin {
  readonly warnings: readonly string[];
  /** The file that it was read from, if any. */
  readonly file: string | undefined;
  /** All files on whose content it depends: that one, those of secrets, `.env`. */
  readonly files: readonly string[];
  /** Reads its sources again. @throws ConfigError that lists every problem. */
  readonly again: () => Config;
}

/** Every loaded configuration. */
const loaded = new WeakMap<Config, Origin>();

/** What a configuration is read from: defaults < file < environment < code. */
export interface Settings {
  /** YAML file. Default: the one that `HEIMDALL_CONFIG` names, if any. Relative paths count from the working directory. */
  readonly path?: string | undefined;
  readonly code?: ConfigInput | Config | undefined;
  /** Default: `process.env` above a `.env` file in the working directory. */
  readonly env?: Variables | undefined;
}

/**
 * The configuration of a YAML file and the environment: defaults < file < environment, derive and deep-frozen.
 * Without `path` the file is the one `HEIMDALL_CONFIG` names, if any; relative paths count from the working directory.
 * Without `env` it is `process.env` above a `.env` file in the working directory.
 * Throws a `ConfigError` that lists every problem.
 */
export function loadConfig(path?: string, env?: NodeJS.ProcessEnv): Config {
  return loadSettings({ path, env });
}

/**
 * The configuration of a process that belongs to the gate: file and environment count beside the settings of code.
 * A configuration that was loaded before is returned unchanged.
 * @throws ConfigError that lists every problem.
 */
export function loadSettings(settings: Settings): Config {
  const { path, code, env } = settings;
  if (isLoaded(code)) return code;
  const report = new Report();
  const variables = env ?? readVariables(report);
  const file = path ?? given(variables, 'HEIMDALL_CONFIG');
  const layers = [environmentLayer(variables, report)];
  if (file !== undefined) layers.unshift(fileLayer(file, path === undefined ? 'HEIMDALL_CONFIG' : file, variables, report));
  warnOfUnread(variables, new Set(layers.flatMap(({ used }) => [...used])), report);
  if (code !== undefined) layers.push(codeLayer(code as Tree, report));
  return load(layers, report, true, { file, again: () => loadSettings(settings) });
}

/**
 * The configuration of a gate within a program: only what the program passes counts. A program that passes nothing gets the file
 * that `HEIMDALL_CONFIG` names, whose texts may name variables. The environment sets nothing, because `DATABASE_URL`, `REDIS_URL`
 * and a `.env` file are the program's own.
 * @throws ConfigError that lists every problem.
 */
export function resolveConfig(code?: ConfigInput | Config): Config {
  if (isLoaded(code)) return code;
  const report = new Report();
  const file = code === undefined ? given(process.env, 'HEIMDALL_CONFIG') : undefined;
  const origin = { file, again: () => resolveConfig(code) };
  if (file !== undefined) return load([fileLayer(file, 'HEIMDALL_CONFIG', process.env, report)], report, false, origin);
  return load([codeLayer((code ?? {}) as Tree, report)], report, false, origin);
}

/** What a check of a text has found. */
export interface CheckedText {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** With secrets masked; null where there are problems. */
  readonly config: object | null;
}

/**
 * Checks a text in the form of a configuration file by itself. SECURITY: neither the environment nor a file nor an address is
 * touched, so that its sender learns nothing but what is in it. Values that name variables or files of secrets are
 * taken for given and right.
 */
export function checkText(text: string): CheckedText {
  const report = new Report();
  try {
    const config = load([textLayer(text, report)], report, true, { file: undefined, again: () => config }, false);
    return { problems: [], warnings: warningsOf(config), config: printable(config) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems, warnings: report.warnings, config: null };
  }
}

/** The warnings of a configuration: harmful orders of parts, secrets in files. */
export function warningsOf(config: Config): readonly string[] {
  return loaded.get(config)?.warnings ?? [];
}

/** Reads the sources of a configuration again: the same file, and the environment as it is now. @throws ConfigError that lists every problem. */
export const readAgain = (config: Config): Config => loaded.get(config)?.again() ?? config;

/** Takes a copy of a loaded configuration, from another thread, for one. */
export function adopt(copy: Config): Config {
  const config = freeze(copy);
  loaded.set(config, { warnings: [], file: undefined, files: [], again: () => config });
  return config;
}

/** The file that a configuration was read from; undefined without one. */
export const fileOf = (config: Config): string | undefined => loaded.get(config)?.file;

/** The files on whose content a configuration depends: its own, those of secrets, and `.env`. */
export const filesOf = (config: Config): readonly string[] => loaded.get(config)?.files ?? [];

/** What becomes of a wanted configuration while the gate runs with another one, complete and frozen. */
export function succeed(current: Config, wanted: Config): Succession {
  const found = succession(current, wanted);
  const config = found.restart.length === 0 ? wanted : freeze(found.config);
  const origin = loaded.get(wanted);
  if (origin !== undefined) loaded.set(config, origin);
  return { ...found, config };
}

function isLoaded(code: ConfigInput | Config | undefined): code is Config {
  return code !== undefined && loaded.has(code as Config);
}

function load(layers: readonly Layer[], report: Report, standalone: boolean, origin: Omit<Origin, 'warnings' | 'files'>, readsFiles = true): Config {
  const sources = new Sources(layers, report, standalone, readsFiles);
  const parsed = parse(sources.tree, sources);
  if (parsed) checkRules(parsed, sources);
  if (!parsed || report.problems.length > 0) throw new ConfigError(report.problems);
  const config = freeze<Config>(derive(parsed));
  loaded.set(config, { ...origin, files: [...(origin.file === undefined ? [] : [origin.file]), ...report.files], warnings: Object.freeze(report.warnings) });
  return config;
}

function parse(tree: Tree, sources: Sources): ParsedConfig | undefined {
  const result = schema.safeParse(tree);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const at = issue.path as Path;
    if (!sources.report.isValid(at)) continue;
    sources.refuse(at, issue.code === 'custom' ? (issue.params as Mismatch) : { expected: 'a section of keys' });
  }
  return parseRest(tree, result.error.issues);
}

/**
 * Removes the refused values and parses the rest, so that the rules are checked in the same run. A section that lacks a
 * required key is removed as a whole.
 */
function parseRest(tree: Tree, [first]: readonly z.core.$ZodIssue[]): ParsedConfig | undefined {
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
