import './node.ts';
import './programs.ts';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, heimdall, type ConfigInput, type Gate, type GateOptions, type Logger } from '../../lib/index.ts';
import type { TestLike } from './client.ts';
import { scratch } from './scratch.ts';

/** A line of the event log. */
export interface LoggedEvent {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** An event log that keeps what it is told. */
export interface Recorder extends Logger {
  readonly events: readonly LoggedEvent[];
  /** The fields of every event of that name. */
  named(event: string): readonly LoggedEvent['fields'][];
}

/** A gate that listens. */
export interface RunningGate {
  readonly url: string;
  readonly port: number;
  readonly gate: Gate;
  readonly server: Server;
  /** What the gate logged, unless the test brought a log of its own. */
  readonly log: Recorder;
}

/** An event log for tests that ask what was said. */
export function recorder(): Recorder {
  const events: LoggedEvent[] = [];
  const at = (level: LoggedEvent['level']) => (fields: object, event: string) => void events.push({ level, event, fields: { ...fields } });
  return {
    events,
    named: (event) => events.filter((each) => each.event === event).map(({ fields }) => fields),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
}

/** A directory that goes with the test, or with its process where something begun in the test still writes there. */
export function temporary(t: TestLike): string {
  const path = scratch();
  t.after(() => {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // An error here would keep what was registered later, the end of a gate for one, from running.
    }
  });
  return path;
}

/**
 * Starts a gate on a free port of 127.0.0.1, silent, without files outside a temporary directory; ends with the test.
 * @param config laid over these defaults, section by section.
 */
export async function startGate(t: TestLike, config: ConfigInput = {}, options: GateOptions = {}): Promise<RunningGate> {
  const log = recorder();
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-gate-'));
  const gate = heimdall(
    {
      ...config,
      // A test that counts what its upstream saw wants no probes and no questions for prices among it.
      llm: { priceSource: 'none', ...config.llm, healthCheck: { enabled: false, ...config.llm?.healthCheck } },
      server: { host: '127.0.0.1', port: 0, ...config.server },
      logging: { file: false, level: 'silent', ...config.logging },
      audit: config.audit === false ? false : { path: join(directory, 'heimdall.db'), ...config.audit },
    },
    { log, ...options },
  );
  const server = createServer(gate);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    // A test that moves its own clock cannot wait for a drain: what is left is cut at once.
    await gate.close({ timeout: 0 });
    rmSync(directory, { recursive: true, force: true });
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, gate, server, log };
}
