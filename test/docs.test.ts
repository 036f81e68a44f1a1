import './support/node.ts';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { parse } from 'yaml';
import { main } from '../lib/cli/cli.ts';
import { loadConfig } from '../lib/config/config.ts';
import { errors } from '../lib/errors.ts';
import { events } from '../lib/telemetry/events.ts';
import { scratch } from './support/scratch.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const documents = globSync(['*.md', '.github/*.md', 'types/*.md', 'lib/**/*.md', 'test/*.md', 'examples/**/*.md'], { cwd: root }).sort();
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Block {
  readonly path: string;
  readonly language: string;
  readonly code: string;
}

const blocks: readonly Block[] = documents.flatMap((path) => [...read(path).matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(([, language = '', code = '']) => ({ path, language, code })));
const inLanguage = (language: string): readonly Block[] => blocks.filter((block) => block.language === language);

/** The anchors of a document, as GitHub makes them. */
const anchorsOf = (text: string): string[] => [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => title.toLowerCase().replaceAll('`', '').replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'));

/** A value for every variable that a text names. */
const filled = (text: string): Record<string, string> => Object.fromEntries([...text.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => [name, name === 'DATABASE_URL' ? 'postgres://127.0.0.1/heimdall' : /URL/.test(name) ? 'http://127.0.0.1:9' : `a-long-value-of-${name.toLowerCase()}-0123456789`]));

describe('the documents', () => {
  it('are all there', () => {
    for (const path of ['README.md', '.github/README.zh-CN.md', '.github/SECURITY.md', '.github/CONTRIBUTING.md', '.github/TROUBLESHOOTING.md', 'types/README.md', 'lib/errors.md', 'lib/admin/README.md', 'lib/telemetry/README.md']) assert.ok(documents.includes(path), path);
    assert.ok(Buffer.byteLength(read('README.md')) <= 14 * 1024);
    assert.ok(statSync(join(root, '.github/page.webp')).size <= 120 * 1024);
  });

  it('link to what is there, down to the heading', () => {
    const broken: string[] = [];
    for (const path of documents) {
      for (const [, target = ''] of read(path).replace(/^```[^]*?^```$/gm, '').replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https:\/\/[\w.-]+(?:\/[\w./#-]*)?$/.test(target)) continue;
        const [file = '', anchor] = target.split('#');
        const at = file === '' ? path : join(dirname(path), file);
        if (!existsSync(join(root, at)) || (anchor !== undefined && !anchorsOf(read(at)).includes(anchor))) broken.push(`${path} → ${target}`);
      }
    }
    assert.deepEqual(broken, []);
  });

  it('never name the package of a stranger', () => {
    const named = [...documents, ...globSync('examples/**/*.{ts,mjs,yaml,service}', { cwd: root })].filter((path) => /npx (?:--yes |-y )?heimdall\b/.test(read(path)));
    assert.deepEqual(named, []);
  });

  it('name errors, with their status, and keys of the configuration that there are', () => {
    const keys = [...read('types/README.md').matchAll(/^\| `([a-z_]+\.[^`]+)` \|/gm)].map(([, key = '']) => key);
    const sections = new Set(keys.map((key) => key.split('.', 1)[0] ?? ''));
    const wrong: string[] = [];
    let seen = 0;
    for (const path of documents.filter((each) => each !== 'CHANGELOG.md')) {
      for (const [all, status, code = ''] of read(path).matchAll(/\b([45]\d\d) `([a-z_]+)`/g)) if ((errors as Readonly<Record<string, { status: number }>>)[code]?.status !== Number(status)) wrong.push(`${path}: ${all}`);
      for (const [all, name = ''] of read(path).matchAll(/`([a-z_]+(?:\.[a-z_]+)+)`/g)) {
        if (!sections.has(name.split('.', 1)[0] ?? '') || Object.hasOwn(events, name) || /\.(?:ts|md)$/.test(name)) continue;
        seen++;
        if (!keys.some((key) => key === name || key.startsWith(`${name}.`) || key.startsWith(`${name}[`))) wrong.push(`${path}: ${all}`);
      }
    }
    assert.deepEqual(wrong, []);
    assert.ok(seen > 100, String(seen));
  });

  it('date the release whose version the package has', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    const [, newest] = /^## (\d\S* \(\d{4}-\d\d-\d\d\))$/m.exec(read('CHANGELOG.md')) ?? [];
    assert.ok(newest?.startsWith(`${version} (`), newest);
  });

  it('say the same in both languages, section by section', () => {
    const partsOf = (path: string): object[] => read(path).split(/^## /m).map((section) => ({
      links: [...section.matchAll(/\]\(([^)\s#]+)\)/g)].map(([, target = '']) => (target.startsWith('https:') ? target : join(dirname(path), target))).filter((target) => !/^(?:\.github\/)?README(?:\.zh-CN)?\.md$/.test(target)).toSorted(),
      code: [...section.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, code = '']) => code.replace(/ +#.*$/gm, '')),
      numbers: [...section.matchAll(/(?<![\w.-])\d+(?:\.\d+)?(?![\w.-])/g)].map(([number]) => number).toSorted(),
    }));
    assert.deepEqual(partsOf('.github/README.zh-CN.md'), partsOf('README.md'));
  });

  it('have tables of contents that hold every heading', () => {
    const text = read('README.md');
    const [, ...headings] = anchorsOf(text);
    assert.deepEqual(headings.filter((anchor) => anchor !== 'licence' && !text.includes(`](#${anchor})`)), []);
  });
});

describe('the code in the documents', () => {
  it('in YAML is a configuration that loads', () => {
    const file = join(scratch(), 'block.yaml');
    const secret = join(scratch(), 'secret');
    writeFileSync(secret, 'sk-a-token-at-newapi', { mode: 0o600 });
    for (const { path, code } of inLanguage('yaml')) {
      writeFileSync(file, code.replace('5e88…', 'a'.repeat(64)).replace(/\/run\/secrets\/\S+/g, secret), { mode: 0o600 });
      try {
        loadConfig(file, { HEIMDALL_SECRET: 'a secret of the same text on every instance', ...filled(code) });
      } catch (error) {
        // Certificates are not there to be read; every other problem is one of the text.
        const problems = String((error as Error).message).split('\n').filter((line) => !/_path\b/.test(line));
        assert.deepEqual(problems, [], `${path}\n${code}`);
      }
    }
  });

  it('in a shell is one, and its commands take what is given to them', async () => {
    const commands = inLanguage('sh').flatMap(({ path, code }) => code.split('\n').map((line) => ({ path, line })));
    for (const { path, code } of inLanguage('sh')) assert.equal(spawnSync('bash', ['-n'], { input: code }).status, 0, `${path}\n${code}`);
    const tables = documents.flatMap((path) => [...read(path).matchAll(/`(npx express-heimdall [^`]+)`/g)].map(([, line = '']) => ({ path, line })));
    let seen = 0;
    for (const { path, line } of [...commands, ...tables]) {
      const [, args] = /\b(?:npx express-heimdall|npx -p express-heimdall heimdall) ([a-z][^#)|>]*)/.exec(line) ?? [];
      if (args === undefined) continue;
      seen++;
      const words = [...args.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? '');
      let err = '';
      const code = await main([...words, '--no-such-option'], { out: () => undefined, err: (text) => void (err += text) });
      assert.equal(code, 2, `${path}: ${line}`);
      assert.match(err, /'--no-such-option'/, `${path}: ${line}\n${err}`);
    }
    assert.ok(seen > 30, String(seen));
  });

  it('in npm scripts is a script of the package', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const path of documents) {
      for (const [all, name = ''] of read(path).matchAll(/\bnpm run ([a-z]+)/g)) assert.ok(Object.hasOwn(scripts, name), `${path}: ${all}`);
    }
  });

  it('in TypeScript and JavaScript can be read', () => {
    for (const { path, code } of [...inLanguage('ts'), ...inLanguage('js')]) assert.doesNotThrow(() => transformSync(code, { loader: 'ts' }), `${path}\n${code}`);
    for (const { path, code } of inLanguage('json')) assert.doesNotThrow(() => JSON.parse(code), path);
  });

  it('in YAML files of examples can be read by any parser', () => {
    for (const path of globSync('examples/**/*.{yaml,yml}', { cwd: root })) assert.equal(typeof parse(read(path)), 'object', path);
  });
});
