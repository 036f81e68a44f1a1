import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, after, describe, it } from 'node:test';
import { promisify } from 'node:util';
import manifest from '../package.json' with { type: 'json' };

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
/** The tools of this checkout, with its Node first on the path. */
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`, HEIMDALL_CONFIG: '', NEWAPI_BASE_URL: '' };
/** What is installed to run once is not worth keeping compiled. */
const once = { ...env, NODE_COMPILE_CACHE: '' };

const program = `
import express from 'express';
import { createServer, heimdall, keepRawBody, loadConfig, ConfigError, HeimdallError, type Gate, type ConfigInput, type RequestInfo } from 'express-heimdall';

const config: ConfigInput = { newapi: { baseUrl: 'http://127.0.0.1:9' }, server: { port: 0, host: '127.0.0.1' }, logging: { level: 'silent', file: false }, rateLimit: { address: { window: '60s' } } };
const app = express();
app.use(express.json({ verify: keepRawBody }));
app.get('/hello', (req, res) => { const info: RequestInfo | undefined = req.heimdall; res.json({ known: info !== undefined }); });
const gate: Gate = heimdall(config);
app.use('/below', heimdall(config));
app.use(gate);
const server = app.listen(0, '127.0.0.1', async () => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const health = await fetch(\`http://127.0.0.1:\${address.port}/health\`);
  const hello = await fetch(\`http://127.0.0.1:\${address.port}/hello\`);
  const below = await fetch(\`http://127.0.0.1:\${address.port}/below/health\`);
  console.log(health.status, hello.status, below.status, typeof createServer, typeof loadConfig, ConfigError.name, HeimdallError.name);
  server.close();
  await gate.close();
  process.exit(0);
});
`;

const common = `
const { heimdall, createServer } = require('express-heimdall');
const gate = heimdall({ server: { port: 0 }, logging: { level: 'silent', file: false } });
console.log(typeof gate, typeof createServer);
gate.close();
`;

const tsconfig = { compilerOptions: { module: 'nodenext', target: 'es2024', strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, noEmit: true, types: ['node'] }, include: ['main.ts'] };

describe('the packed package', { concurrency: true }, () => {
  let dir: string;
  let tarball: string;

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'heimdall-package-'));
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', dir], { cwd: root, env, encoding: 'utf8' })) as [{ filename: string }];
    tarball = join(dir, packed.filename);
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    writeFileSync(join(dir, 'main.ts'), program);
    writeFileSync(join(dir, 'common.cjs'), common);
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(tsconfig));
    const needed = [tarball, `express@${manifest.peerDependencies.express}`, `@types/express@${manifest.devDependencies['@types/express']}`, `@types/node@${manifest.devDependencies['@types/node']}`];
    execFileSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', ...needed], { cwd: dir, env, stdio: 'pipe' });
  });

  after(() => rmSync(dir, { recursive: true, force: true }));

  it('type-checks in a project of its own, library types included', async () => {
    await run('tsc', ['-p', '.'], { cwd: dir, env });
  });

  it('runs by import', async () => {
    const { stdout } = await run('node', ['main.ts'], { cwd: dir, env: once });
    assert.equal(stdout.trim(), '200 200 200 function function ConfigError HeimdallError');
  });

  it('runs by require', async () => {
    const { stdout } = await run('node', ['common.cjs'], { cwd: dir, env: once });
    assert.equal(stdout.trim(), 'function function');
  });

  it('has a command that runs', async () => {
    for (const name of ['heimdall', 'express-heimdall']) {
      const { stdout } = await run(join(dir, 'node_modules/.bin', name), ['version'], { cwd: dir, env: once });
      assert.equal(stdout.trim(), manifest.version, name);
    }
  });

  it('is clean under publint and attw', async () => {
    await run('publint', ['run', tarball, '--strict'], { cwd: dir, env });
    await run('attw', ['--profile', 'esm-only', tarball], { cwd: dir, env });
  });

  it('type-checks and runs with Express 4 too, and is installed without a warning', async () => {
    const four = join(dir, 'four');
    mkdirSync(four);
    writeFileSync(join(four, 'package.json'), JSON.stringify({ name: 'consumer-of-four', private: true, type: 'module' }));
    const installed = spawnSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball, 'express@4', '@types/express@4', `@types/node@${manifest.devDependencies['@types/node']}`], { cwd: four, env, encoding: 'utf8' });
    assert.doesNotMatch(installed.stderr, /warn/i);
    assert.equal(installed.status, 0);
    writeFileSync(join(four, 'main.ts'), program);
    writeFileSync(join(four, 'tsconfig.json'), JSON.stringify(tsconfig));
    await run('tsc', ['-p', '.'], { cwd: four, env });
    const { stdout } = await run('node', ['main.ts'], { cwd: four, env: once });
    assert.equal(stdout.trim(), '200 200 200 function function ConfigError HeimdallError');
    writeFileSync(join(four, 'common.cjs'), common);
    assert.equal((await run('node', ['common.cjs'], { cwd: four, env: once })).stdout.trim(), 'function function');
  });

  it('carries documents and examples, no tests and no sources', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball]);
    const files = stdout.trim().split('\n').map((path) => path.replace(/^package\//, ''));
    const folders = new Set(files.map((path) => (path.includes('/') ? dirname(path).split('/')[0] : path)));
    assert.deepEqual([...folders].toSorted(), ['.github', 'CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'examples', 'lib', 'package.json', 'types']);
    assert.deepEqual(files.filter((path) => path.startsWith('lib/') && !path.endsWith('.md')), []);
    for (const path of ['.github/README.zh-CN.md', '.github/page.webp', 'lib/admin/README.md', 'examples/audit/heimdall.yaml']) assert.ok(files.includes(path), path);
    assert.ok(!Object.keys(manifest.scripts).some((name) => /^(?:pre|post)?install$|^prepare$/.test(name)));
    assert.deepEqual(files.filter((path) => path.endsWith('.tsbuildinfo')), []);
    assert.ok(files.includes('types/heimdall.schema.json') && files.includes('dist/cli.js'));
  });
});
