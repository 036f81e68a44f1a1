import '../support/node.ts';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { main } from '../../lib/cli/cli.ts';
import { bare } from '../support/programs.ts';
import { scratch } from '../support/scratch.ts';

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function said(args: readonly string[], colors = { out: false, err: false }): Promise<Said> {
  const text = { out: '', err: '' };
  const code = await main(args, { out: (more) => void (text.out += more), err: (more) => void (text.err += more), colors });
  return { code, ...text };
}

const whole = (await said(['--help'])).out;
/** Every command and family by its name, as the completion knows them. */
const names = [...(await said(['completion', 'bash'])).out.matchAll(/ path="([^"]+)" ;;/g)].map(([, name = '']) => name);

/** The words of a line, as a shell splits it. */
const wordsOf = (line: string): string[] => line.replace(/^(?:[A-Z_]+=\S+ )*heimdall /, '').split(' ');

describe('the help', () => {
  it('of every command, family and of all is given with exit code 0 and fits 80 columns', async () => {
    assert.ok(names.length > 25, names.join());
    for (const words of [[], ...names.map((name) => name.split(' '))]) {
      const help = await said([...words, '--help']);
      assert.deepEqual([help.code, help.err], [0, ''], words.join(' '));
      assert.match(help.out, new RegExp(`^Usage: heimdall ${words.length === 0 ? '<command>' : words.join(' ')}`), words.join(' '));
      assert.deepEqual(help.out.split('\n').filter((line) => line.length > 80), [], words.join(' '));
      assert.equal((await said(['help', ...words])).out, help.out, words.join(' '));
    }
  });

  it('has examples that the commands take', async () => {
    for (const words of [[], ['start'], ['check'], ['logs'], ['keys', 'create']]) assert.match((await said([...words, '--help'])).out, /^Examples:\n {2}\$ .*heimdall /m, words.join(' '));
    for (const name of ['', ...names]) {
      const { out } = await said([...name.split(' ').filter(Boolean), '--help']);
      for (const [, line = ''] of out.matchAll(/^ {2}\$ (.*heimdall [^>)\n]*)/gm)) {
        if (line.includes('<(')) continue;
        // The help is shown before anything is run, and after the options were read.
        const unknown = await said([...wordsOf(line.trim()), '--no-such-option']);
        assert.match(unknown.err, /--no-such-option/, line);
      }
    }
  });

  it('tells the exit codes', () => {
    for (const code of [0, 1, 2, 3]) assert.match(whole, new RegExp(`^Exit codes:\\n(?:.*\\n)*? {2}${code} {2}\\w`, 'm'));
  });

  it('has colors on a terminal that has them, and the same text without', async () => {
    const colored = (await said(['--help'], { out: true, err: true })).out;
    assert.ok(colored.includes('\u001b[1mUsage:'));
    assert.equal(stripVTControlCharacters(colored), whole);
    assert.ok((await said(['no-such-command'], { out: true, err: true })).err.startsWith('\u001b[31mheimdall: '));
  });

  it('loads no other command, nor what they need', () => {
    const cli = join(import.meta.dirname, '../../lib/cli/cli.ts');
    const program = `import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
const { main } = await import(${JSON.stringify(cli)});
for (const args of [['--help'], ['start', '--help'], ['verify', '--help'], ['version']]) await main(args, { out: () => undefined, err: () => undefined });
console.log(loaded.filter((url) => url.startsWith('file:') || url.startsWith('node:sqlite')).join('\\n'));`;
    const loaded = execFileSync(process.execPath, ['--input-type=module', '-e', program], { env: bare, encoding: 'utf8' });
    assert.match(loaded, /lib\/cli\/parser\.ts/);
    assert.doesNotMatch(loaded, /lib\/(?:journal|admin|server|config|upstream)\/|zod|undici|node:sqlite/);
  });
});

it('a result is one JSON document where it is asked for', async () => {
  const yaml = join(scratch(), 'heimdall.yaml');
  writeFileSync(yaml, `audit: {path: ${join(scratch(), 'heimdall.db')}}\nserver: {port: 1}\n`, { mode: 0o600 });
  const lines = ['version', 'check', 'health', 'keys create a', 'keys list', 'keys rotate a', 'keys disable a', 'keys expire a never', 'keys revoke a', 'ban 203.0.113.7', 'bans', 'unban 203.0.113.7', 'findings list'];
  for (const line of lines) {
    const { out } = await said([...line.split(' '), '--json', ...(line === 'version' ? [] : ['-c', yaml])]);
    assert.equal(typeof JSON.parse(out), 'object', line);
  }
  const { code, out } = await said(['check', '--json', '-c', join(import.meta.dirname, 'no-such-file.yaml')]);
  assert.equal(code, 1);
  assert.equal((JSON.parse(out) as { valid: boolean }).valid, false);
});

describe('the completion', () => {
  const has = (shell: string): false | string => (spawnSync(shell, ['--version']).status === 0 ? false : `${shell} is not installed`);
  const script = async (shell: string): Promise<string> => {
    const { code, out } = await said(['completion', shell]);
    assert.equal(code, 0);
    const path = join(scratch(), `heimdall.${shell}`);
    writeFileSync(path, out);
    return path;
  };
  const asked: readonly (readonly [line: string, expected: RegExp])[] = [
    ['heimdall ke', /^keys$/m], ['heimdall keys cr', /^create$/m], ['heimdall keys create a --exp', /^--expires$/m], ['heimdall logs --form', /^--format$/m], ['heimdall logs --format js', /^jsonl$/m],
    ['heimdall completion z', /^zsh$/m], ['heimdall findings act x --re', /^--reason$/m],
  ];

  it('refuses another shell by name', async () => {
    assert.match((await said(['completion', 'tcsh'])).err, /expected one of bash, zsh, fish, got "tcsh"/);
  });

  it('works in bash', { skip: has('bash') }, async () => {
    const path = await script('bash');
    const tries = asked.map(([line]) => `COMP_WORDS=(${line}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _heimdall; printf '%s\\n' "\${COMPREPLY[@]}"; echo ==`);
    const parts = execFileSync('bash', ['-c', `source ${path}; ${tries.join('; ')}`], { encoding: 'utf8' }).split('==\n');
    for (const [at, [line, expected]] of asked.entries()) assert.match(parts[at] ?? '', expected, line);
  });

  it('is accepted by zsh', { skip: has('zsh') }, async () => {
    const path = await script('zsh');
    execFileSync('zsh', ['-n', path]);
    assert.equal(execFileSync('zsh', ['-fc', `autoload -U compinit && compinit -D -u && source ${path} && print $_comps[heimdall]`], { encoding: 'utf8', env: { ...bare, HOME: scratch() } }).trim(), '_heimdall');
  });

  it('works in fish', { skip: has('fish') }, async () => {
    const path = await script('fish');
    const tries = asked.map(([line]) => `complete -C '${line}'; echo ==`);
    const parts = execFileSync('fish', ['--no-config', '-c', `source ${path}; ${tries.join('; ')}`], { encoding: 'utf8', env: { ...bare, HOME: scratch() } }).replace(/\t.*$/gm, '').split('==\n');
    for (const [at, [line, expected]] of asked.entries()) assert.match(parts[at] ?? '', expected, line);
  });
});
