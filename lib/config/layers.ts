import { VARIABLES, variablesTree } from './environment.ts';
import type { Variables } from './expand.ts';
import { isWorldReadable, readTree } from './file.ts';
import { enter } from './keys.ts';
import { type Style, writePath } from './paths.ts';
import type { Path } from './problems.ts';
import type { Report } from './report.ts';
import { moveHome } from './aliases.ts';
import { settle, type Settling } from './resolve-values.ts';
import type { Tree } from './schema-tree.ts';

/** One source of settings, settled and in camelCase, and how it calls its places. */
export interface Layer {
  readonly tree: Tree;
  /** What the user calls a place: `rate_limit.address.window`, `rateLimit.address.window` or `HEIMDALL_PORT`. */
  readonly name: (at: Path) => string;
  /** Texts with variables, as the user wrote them, by the name of their place. */
  readonly written: ReadonlyMap<string, string>;
  /** Whether it knows single values only, not the sections around them. */
  readonly single?: true;
  /** Whether it came as an object of a program, which may hold functions. */
  readonly code?: true;
}

/** The layer of a file; `asked` is what named it. Secrets written into it are warned about. */
export function fileLayer(path: string, asked: string, variables: Variables, report: Report): Layer {
  const literals: string[] = [];
  const layer = read(readTree(path, asked, report), 'snake', { report, variables, literals, written: new Map() });
  for (const name of literals) {
    report.warn(name, `a secret is written into ${path}; use a variable like \${NAME}, or ${name.replace(/^.*\./, '')}_file`);
  }
  if (literals.length > 0 && isWorldReadable(path))
    report.warn(path, `holds secrets and everyone on this machine may read it; chmod 600 ${path}`);
  return layer;
}

/** The layer of the object given in code, whose texts are taken as they are. */
export function codeLayer(code: Tree, report: Report): Layer {
  return { ...read(code, 'camel', { report, variables: null, literals: [], written: new Map() }), code: true };
}

/** The layer of the variables that set a key each. */
export function environmentLayer(variables: Variables): Layer {
  const name = (at: Path): string =>
    VARIABLES.find((variable) => variable.at?.join() === at.join())?.name ?? writePath(at, 'snake');
  return { tree: variablesTree(variables), name, written: new Map(), single: true };
}

/** A list at `metrics` is `metrics.series`. */
function read(raw: Tree, style: Style, settling: Omit<Settling, 'name'>): Layer {
  const listed = Array.isArray(raw['metrics']);
  const entered = enter(listed ? { ...raw, metrics: { enabled: true, series: raw['metrics'] } } : raw, style, settling.report);
  const { tree, origin } = moveHome(entered, style, settling.report);
  const name = (at: Path): string =>
    writePath(listed && at[0] === 'metrics' ? ['metrics', ...at.slice(2)] : origin(at), style);
  return { tree: settle(tree, { ...settling, name }), name, written: settling.written };
}
