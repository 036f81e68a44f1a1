import { createHash } from 'node:crypto';
import type http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import threads from 'node:worker_threads';
import { startSpec } from '../ipc.ts';
import { CALLER_KEYS } from '../wire.ts';
import { serve, type Spec } from './serve.ts';

/** What this file uses of the package; imported by a computed path so that another checkout can be benched too. */
interface Package {
  heimdall(config: object): Gate;
  createServer(gate: Gate): http.Server;
}

interface Gate {
  readonly ready: Promise<void>;
  close(options: { timeout: number }): Promise<void>;
}

/** The gate with everything on: auth, both limits, fingerprints, queue, journal, metrics, access log. */
const spec = startSpec<Spec>();
profileWorkers();
const entry = process.env['HEIMDALL_BENCH_ENTRY'] ?? new URL('../../../dist/index.js', import.meta.url).href;
const { heimdall, createServer } = (await import(entry)) as Package;
const gate = heimdall(spec.refused === undefined ? everythingOn(spec) : failover(spec, spec.refused));
await gate.ready;
serve(createServer(gate), () => gate.close({ timeout: 500 }));

/** Under the profiler the gate's workers are profiled too: they are started without the options of the process. */
function profileWorkers(): void {
  const profiling = process.execArgv.filter((option) => option.startsWith('--cpu-prof'));
  if (profiling.length === 0) return;
  threads.Worker = class extends threads.Worker {
    constructor(file: string | URL, options: threads.WorkerOptions = {}) {
      super(file, { ...options, execArgv: [...(options.execArgv ?? []), ...profiling] });
    }
  };
  syncBuiltinESMExports();
}

/** Limits are high enough never to refuse, low enough to be counted. */
function everythingOn({ upstream, dir, fingerprint }: Spec): Record<string, unknown> {
  return {
    newapi: { baseUrl: `http://127.0.0.1:${upstream}` },
    server: { host: '127.0.0.1', port: 0 },
    queue: { concurrency: 4000, initialSize: 4000, statePath: join(dir, 'queue.json') },
    rateLimit: {
      address: { limit: 60, window: '60s' },
      key: {
        requests: { limit: 1_000_000_000, window: '60s' },
        tokens: { limit: 1_000_000_000_000, window: '60s' },
        concurrency: 4000,
      },
    },
    logging: { file: join(dir, 'heimdall.log'), level: 'info', maxSize: '1GB' },
    audit: { path: join(dir, 'heimdall.db'), ...(fingerprint === undefined ? {} : { fingerprint }) },
    metrics: { token: 'benchmark-metrics-token-0123456789abcdef' },
  };
}

/** The first target refuses every connection and its breaker never opens, so that each request fails over. */
function failover(spec: Spec, refused: number): Record<string, unknown> {
  const target = (port: number): object => ({
    provider: 'openai',
    endpoint: `http://127.0.0.1:${port}/v1`,
    apiKey: 'sk-bench-upstream-0123456789abcdef',
  });
  return {
    ...everythingOn(spec),
    llm: { ...target(refused), backupProviders: [target(spec.upstream)], healthCheck: { enabled: false } },
    circuitBreaker: { failureThreshold: 1000 },
    auth: {
      mode: 'keys',
      keys: CALLER_KEYS.map((key, index) => ({
        name: `bench-${index}`,
        sha256: createHash('sha256').update(key).digest('hex'),
        upstreamCredential: 'sk-bench-newapi-0123456789abcdef',
      })),
    },
  };
}
