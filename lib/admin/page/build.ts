// Bundles the page into `dist/admin/page`: run by `npm run build`, and before `npm start` in a checkout. Users of the
// package get the result. The libraries, the shell, each panel, each language and the charts are files of their own, with names that
// change with their content, so that a browser asks for each of them once.

import { readFileSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build, type BuildOptions, type Plugin } from 'esbuild';

const source = import.meta.dirname;
/** Where the gate looks for the page. */
const destination = join(source, '../../../dist/admin/page');

/** What every browser with `<dialog>`, `light-dark()` and `bigint` understands. */
const target = ['chrome123', 'firefox121', 'safari17.5'];
const shared = { absWorkingDir: source, outdir: '/assets', entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', bundle: true, minify: true, splitting: true, write: false, format: 'esm', target, legalComments: 'none', jsx: 'automatic', jsxImportSource: 'preact' } satisfies BuildOptions;

/** The parts of a bundle that another one holds, by how they are imported. */
const libraries = /^@?preact\b/;
const kit = new RegExp(`/(?:${[...readFileSync(join(source, 'kit.ts'), 'utf8').matchAll(/'\.\/([\w.]+)'/g)].map(([, name]) => name).join('|')})$`);

const types: Readonly<Record<string, string>> = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' };

/** The HTML files by their name in the manifest. */
const pages = { index: 'index.html', me: 'me.html' };

/** Builds the page. @returns its files by their names. */
export async function bundle(): Promise<ReadonlyMap<string, Uint8Array>> {
  const vendor = await filesOf({ ...shared, entryPoints: ['vendor.ts'] });
  const common = await filesOf({ ...shared, entryPoints: ['kit.ts'], plugins: [elsewhere(libraries, vendor)] });
  const rest = await filesOf({ ...shared, entryPoints: ['shell.tsx', 'me.tsx', 'style.css'], plugins: [elsewhere(libraries, vendor), elsewhere(kit, common)] });
  const files = new Map([...vendor, ...common, ...rest]);
  const assets = Object.fromEntries([...files.keys()].sort().map((name) => [name, types[name.split('.').at(-1) as string] as string]));
  for (const file of Object.values(pages)) files.set(file, Buffer.from(withNames(await readFile(join(source, file), 'utf8'), Object.keys(assets))));
  return files.set('manifest.json', Buffer.from(JSON.stringify({ pages, assets })));
}

/** Leaves what another bundle holds to that bundle. */
function elsewhere(which: RegExp, files: ReadonlyMap<string, unknown>): Plugin {
  const path = `./${[...files.keys()].find((name) => /^(?:vendor|kit)-/.test(name))}`;
  return { name: which.source, setup: ({ onResolve }) => onResolve({ filter: which }, ({ kind }) => (kind === 'entry-point' ? undefined : { path, external: true })) };
}

async function filesOf(options: BuildOptions & { readonly write: false }): Promise<Map<string, Uint8Array>> {
  const { outputFiles = [] } = await build(options);
  return new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]));
}

/** Puts the names of the built files in place of those of their sources. */
function withNames(html: string, names: readonly string[]): string {
  return html.replace(/"(\w+)\.(?:tsx?|css)"/g, (_source, name: string) => {
    const found = names.find((each) => each.startsWith(`${name}-`) && types[each.split('.').at(-1) as string] !== undefined);
    if (found === undefined) throw new Error(`the page has no ${name}`);
    return `"assets/${found}"`;
  });
}

/** Writes the page to where the gate looks for it. A gate that runs keeps what it serves: the old files go last. */
export async function writePage(): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = await bundle();
  await mkdir(destination, { recursive: true });
  for (const [name, content] of files) await writeFile(join(destination, name), content);
  for (const name of await readdir(destination)) if (!files.has(name)) rmSync(join(destination, name), { force: true });
  return files;
}

if (import.meta.main) await writePage();
