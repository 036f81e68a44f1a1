import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { VARIABLES } from '../../lib/config/environment.ts';
import { loadConfig, warningsOf } from '../../lib/config/load.ts';
import { startGate, temporary } from '../support/gate.ts';
import { nowhere } from '../support/upstream.ts';

const root = new URL('../../', import.meta.url);
const read = (name: string): string => readFileSync(new URL(`examples/deploy/${name}`, root), 'utf8');
const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { bin: { heimdall: string }; engines: { node: string }; peerDependencies: Record<string, string> };
const metricsToken = 'a-token-for-metrics-of-a-good-length';
const noSystemd = spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'systemd-analyze is not installed';

interface Service {
  readonly environment: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly stop_grace_period?: string;
  readonly cap_drop?: readonly string[];
}

const { services } = parse(read('compose.yaml')) as { services: { newapi: Service; heimdall: Service } };

describe('the configuration of a deployment', () => {
  it('loads without a warning, sheds, keeps its state beside it and shows nothing to strangers', (t) => {
    const file = join(temporary(t), 'heimdall.yaml');
    writeFileSync(file, read('heimdall.yaml'), { mode: 0o644 });
    const config = loadConfig(file, { NEWAPI_BASE_URL: 'http://newapi:3000', HEIMDALL_METRICS_TOKEN: metricsToken });
    assert.deepEqual(warningsOf(config), []);
    assert.deepEqual([config.newapi.baseUrl, config.metrics.token, config.logging.file, config.server.healthCheck?.enabled], ['http://newapi:3000', metricsToken, false, true]);
    assert.deepEqual([config.audit.path, config.queue.statePath], ['heimdall.db', 'queue.json']);
    assert.throws(() => loadConfig(file, {}), /HEIMDALL_METRICS_TOKEN/);
  });
});

describe('the image', () => {
  const docker = read('Dockerfile');
  const [build = '', run = ''] = docker.split(/\n(?=FROM node:24-bookworm-slim\n)/);
  const probe = JSON.parse(/^HEALTHCHECK .*CMD (\[.*\])$/m.exec(run)?.[1] ?? 'null') as readonly string[];

  it('is made in two stages of what is there, and runs without root on data of its own', () => {
    const copied = [...build.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, names = '']) => names.split(' '));
    const ignored = read('Dockerfile.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    assert.deepEqual([...copied].sort(), [...ignored].sort());
    for (const name of copied) assert.ok(existsSync(new URL(name, root)), name);
    assert.ok(run.indexOf('\nUSER node\n') > run.indexOf('install -d -o node -g node -m 0700 /data'));
    assert.match(run, /^VOLUME \/data$/m);
    assert.match(build, /^RUN npm run build$/m, 'the page is built, too');
    assert.ok(run.includes(`ENTRYPOINT ["node", "/app/${manifest.bin.heimdall}"]`));
    for (const part of ['package.json', 'node_modules', 'types', 'dist']) assert.match(run, new RegExp(`^COPY --from=build /app/${part} /app/`, 'm'));
  });

  it('has what a configuration may ask for, in the versions the package works with', () => {
    const brought = [...(/npm install .* (express@.*)$/m.exec(build)?.[1] ?? '').matchAll(/(\S+)@(\d+)/g)].map(([, name = '', major = '']) => [name, major]);
    const wanted = Object.entries(manifest.peerDependencies).filter(([name]) => !name.startsWith('@')).map(([name, range]) => [name, /(\d+)[.\d]*$/.exec(range)?.[1]]);
    assert.deepEqual(brought.sort(), wanted.sort());
  });

  it('asks for its health without a tool of its own', async (t) => {
    const { port } = await startGate(t, { newapi: { baseUrl: await nowhere() } });
    const code = async (at: number): Promise<number> => {
      const child = spawn(process.execPath, probe.slice(1).map((part) => part.replace('/app/dist/cli.js', join(import.meta.dirname, '../../lib/cli.ts'))), { env: { HEIMDALL_PORT: String(at) }, stdio: 'ignore' });
      return ((await once(child, 'exit')) as [number])[0];
    };
    assert.equal(probe[0], 'node');
    assert.equal(await code(port), 0);
    assert.equal(await code(Number(new URL(await nowhere()).port)), 1);
  });
});

describe('NewAPI and its sidecar', () => {
  it('have one door, and it is the gate\'s', () => {
    assert.equal(services.newapi.ports, undefined);
    assert.deepEqual(services.heimdall.ports, ['${HEIMDALL_PUBLISH:-8000}:8000']);
    assert.equal(services.heimdall.environment['NEWAPI_BASE_URL'], 'http://newapi:3000');
    assert.deepEqual(services.heimdall.cap_drop, ['ALL']);
  });

  it('name files and variables that are there', () => {
    const { build, volumes, environment, stop_grace_period: grace = '' } = services.heimdall;
    assert.ok(existsSync(new URL(`examples/deploy/${build?.context}/${build?.dockerfile}`, root)));
    for (const volume of volumes) if (volume.startsWith('./')) assert.ok(existsSync(new URL(`examples/deploy/${volume.split(':')[0]}`, root)), volume);
    const known = new Set([...VARIABLES.map(({ name }) => name), ...[...read('heimdall.yaml').matchAll(/\$\{(\w+)/g)].map(([, name = '']) => name)]);
    assert.deepEqual(Object.keys(environment).filter((name) => !known.has(name)), []);
    const asked = [...read('compose.yaml').matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name);
    const given = [...read('env.example').matchAll(/^(\w+)=/gm)].map(([, name = '']) => name);
    assert.ok(asked.length > 2 && asked.every((name) => given.includes(name)), String(asked));
    assert.ok(Number.parseInt(grace, 10) * 1000 > loadConfig(fileURLToPath(new URL('examples/deploy/heimdall.yaml', root)), { HEIMDALL_METRICS_TOKEN: metricsToken }).server.shutdownTimeout);
  });
});

describe('the service', () => {
  it('is one systemd takes, locked up well', { skip: noSystemd }, (t) => {
    const file = join(temporary(t), 'heimdall.service');
    const text = read('heimdall.service');
    assert.ok(text.includes(`/${manifest.bin.heimdall} start\n`));
    writeFileSync(file, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const verified = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    assert.equal(verified.status, 0, verified.stderr);
    const { stdout } = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', file], { encoding: 'utf8' });
    const exposure = Number(/exposure level for heimdall\.service: ([\d.]+)/.exec(stdout)?.[1]);
    assert.ok(exposure < 2, stdout);
  });
});
