import { settingsOf, variablesTree } from './environment.ts';
import type { Variables } from './expand.ts';
import { isWorldReadable, parseTree, readTree } from './file.ts';
import { normalizeKeys } from './key-names.ts';
import { type Style, writePath } from './paths.ts';
import type { Path } from '../values/values.ts';
import type { Report } from './report.ts';
import { resolveAliases } from './aliases.ts';
import { resolveValues, type ResolveContext } from './resolve-values.ts';
import { isSection, type Tree } from './schema-tree.ts';

/** One source of settings, with resolved values and camelCase keys. */
export interface Layer {
  readonly tree: Tree;
  /** A path as the user wrote it: `rate_limit.address.window`, `rateLimit.address.window` or `HEIMDALL_PORT`. */
  readonly name: (at: Path) => string;
  /** Texts with variables as the user wrote them, by their written path. */
  readonly written: ReadonlyMap<string, string>;
  /** Names of the variables that the source reads. */
  readonly used: ReadonlySet<string>;
  /** Set when the source names single values only, and no sections. */
  readonly single?: true;
  /** Set when the source is an object of code, which may hold functions. */
  readonly code?: true;
}

/** The layer of a file. `asked` is the source of its path. Literal secrets in the file cause a warning. */
export function fileLayer(path: string, asked: string, variables: Variables, report: Report): Layer {
  const literals: string[] = [];
  const layer = read(readTree(path, asked, report), 'snake', { report, variables, literals, written: new Map(), used: new Set() });
  for (const name of literals) {
    report.warn(name, `a secret is written into ${path}; use a variable like \${NAME}, or ${name.replace(/^.*\./, '')}_file`);
  }
  if (literals.length > 0 && isWorldReadable(path))
    report.warn(path, `holds secrets and every user of this machine may read it; run chmod 600 ${path}`);
  return layer;
}

/** The layer of an object given in code. Its texts are not expanded. */
export function codeLayer(code: Tree, report: Report): Layer {
  return { ...read(code, 'camel', { report, variables: null, literals: [], written: new Map(), used: new Set() }), code: true };
}

/** The layer of a text in the form of a file. SECURITY: reads no variable and no file. */
export function textLayer(text: string, report: Report): Layer {
  return read(parseTree(text, 'yaml', report), 'snake', { report, variables: null, isForeign: true, literals: [], written: new Map(), used: new Set() });
}

/** The layer of the environment variables. */
export function environmentLayer(variables: Variables, report: Report): Layer {
  const settings = settingsOf(variables, report);
  const name = (at: Path): string => settings.find((setting) => setting.at.join() === at.join())?.name ?? writePath(at, 'snake');
  return { tree: variablesTree(settings), name, written: new Map(), used: new Set(), single: true };
}

/** Reads a tree. A list at `metrics` means `metrics.series`, `audit: false` means `audit.enabled: false`; for a list at `server.tls` see `readListed`. */
function read(raw: Tree, style: Style, context: Omit<ResolveContext, 'name'>): Layer {
  const listed = Array.isArray(raw['metrics']);
  const switched = raw['audit'] === false ? { ...raw, audit: { enabled: false } } : raw;
  const normalized = normalizeKeys(listed ? { ...switched, metrics: { enabled: true, series: raw['metrics'] } } : switched, style, context.report);
  const { tree, origin } = resolveAliases(normalized, style, context.report);
  const hasTlsList = isSection(raw['server']) && Array.isArray(raw['server']['tls']);
  const name = (at: Path): string => {
    if (listed && at[0] === 'metrics') return writePath(['metrics', ...at.slice(2)], style);
    return writePath(hasTlsList && at[0] === 'server' && at[1] === 'tls' && at.length > 2 ? inTlsList(at) : origin(at), style);
  };
  return { tree: resolveValues(tree, { ...context, name }), name, written: context.written, used: context.used };
}

/** The place in a list at `server.tls`: its first entry has the keys of the section, the others are its `others`. */
const inTlsList = ([server, tls, ...rest]: Path): Path => [server, tls, ...(rest[0] === 'others' ? [Number(rest[1]) + 1, ...rest.slice(2)] : [0, ...rest])] as Path;
