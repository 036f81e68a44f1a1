import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import type { Timer } from '../../types/clock.d.ts';
import { atExit, codeOf, guard } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';

/** Waits before a start, milliseconds: after an engine that was up, and at most, doubling with each start that fails. */
const firstWait = 100;
const longestWait = 30_000;
/** How often the engine is asked whether it lives, how long it may take, and after how many failures it is ended, milliseconds and times. */
const askEvery = 250;
const patience = 1000;
const mostFailures = 2;
/** Longest time for a start: then it counts as failed, milliseconds. */
const longestStart = 10_000;

/**
 * Runs the engine until it ends, or the gate does: then the pipe at descriptor 3 closes, however the gate has ended. Its
 * configuration comes by standard input, so that no key is written to a disk.
 */
const script = 'dir=$1; shift; exec 4<&0; "$@" <&4 3<&- & engine=$!; exec 4<&- </dev/null; (cat <&3; kill -9 $engine; rm -rf "$dir") & watch=$!; wait $engine; code=$?; kill $watch; exit $code';

/** What an engine needs. */
export interface EngineOptions {
  readonly core: Core;
  /** The program. */
  readonly program: string;
  /** Its configuration. @param directory that of {@link Engine}. */
  readonly configuration: (directory: string) => object;
  /** It serves, or no longer. */
  readonly changed: (isUp: boolean) => void;
}

/** Caddy in front of the gate, started again whenever it ends or hangs. The event log has one line for the time it is down. */
export class Engine {
  /** Its own, which no other user can read: the sockets are here. */
  readonly directory = mkdtempSync(join(tmpdir(), 'heimdall-h3-'));
  readonly #options: EngineOptions;
  readonly #forget: () => void;
  #child: ChildProcess | null = null;
  #timer: Timer | null = null;
  #wait = firstWait;
  #failures = 0;
  #startedAt = 0;
  #isUp = false;
  #isTold = false;
  #isOver = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#forget = atExit(() => this.#kill());
  }

  start(): void {
    if (this.#isOver) return;
    const { core, program, configuration } = this.#options;
    this.#failures = 0;
    this.#startedAt = core.clock.monotonic();
    // A group of its own: the signals of a terminal are for the gate, which ends it.
    const child = spawn('/bin/sh', ['-c', script, 'sh', this.directory, program, 'run', '--config', '-'], {
      detached: true,
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      // SECURITY: it gets none of the gate's variables, which hold secrets.
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: this.directory, XDG_DATA_HOME: this.directory, XDG_CONFIG_HOME: this.directory },
    });
    this.#child = child;
    let said = '';
    child.stderr?.on('data', guard(core.log, 'engine', (text: Buffer) => void (said = (said + text.toString()).slice(-longestReason))));
    for (const stream of [child.stdin, child.stdio[3]] as Duplex[]) stream.on('error', () => undefined);
    const ended = guard(core.log, 'engine', (reason: string) => this.#ended(child, reason));
    child.on('error', guard(core.log, 'engine', (error: Error) => ended(codeOf(error))));
    child.on('exit', guard(core.log, 'engine', (code: number | null, signal: string | null) => ended(code === notFound ? `${program} is not there` : reasonIn(said) || (signal ?? `it ended with ${code}`))));
    (child.stdin as Writable).end(JSON.stringify(configuration(this.directory)));
    this.#later(askEvery, () => this.#ask(child));
  }

  /** Ends it for good. */
  close(): void {
    this.#isOver = true;
    if (this.#timer !== null) this.#options.core.clock.clearTimeout(this.#timer);
    this.#set(false);
    this.#kill();
    this.#forget();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #later(wait: number, action: () => void): void {
    const { clock } = this.#options.core;
    if (this.#timer !== null) clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(action, wait);
    this.#timer.unref();
  }

  #ask(child: ChildProcess): void {
    if (this.#isOver || this.#child !== child) return;
    const { core } = this.#options;
    const asked = request({ socketPath: join(this.directory, 'engine'), path: '/config/', headers: { host: 'heimdall' }, timeout: patience, agent: false });
    const answered = guard(core.log, 'engine', (lives: boolean) => this.#answered(child, lives));
    asked.on('response', guard(core.log, 'engine', (answer) => {
      answer.resume();
      answered(answer.statusCode === 200);
    }));
    asked.on('timeout', () => asked.destroy());
    asked.on('error', guard(core.log, 'engine', () => answered(false)));
    asked.end();
  }

  #answered(child: ChildProcess, lives: boolean): void {
    if (this.#isOver || this.#child !== child) return;
    if (lives) {
      this.#failures = 0;
      this.#wait = firstWait;
      this.#set(true);
    } else if (this.#isUp ? ++this.#failures >= mostFailures : this.#options.core.clock.monotonic() - this.#startedAt > longestStart) {
      this.#tell('it does not answer');
      return this.#kill();
    }
    this.#later(askEvery, () => this.#ask(child));
  }

  #ended(child: ChildProcess, reason: string): void {
    if (this.#child !== child) return;
    // What may be left of its group: the shell was killed alone.
    this.#kill();
    this.#child = null;
    if (this.#isOver) return;
    this.#tell(reason);
    const wait = this.#wait;
    this.#wait = Math.min(longestWait, 2 * wait);
    this.#later(wait, () => this.start());
  }

  #tell(reason: string): void {
    this.#set(false);
    if (this.#isTold) return;
    this.#isTold = true;
    this.#options.core.log.warn({ engine: this.#options.program, reason, effect: 'clients are told to use the TCP port', next: 'it is started again' }, 'engine.down');
  }

  #set(isUp: boolean): void {
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    this.#options.changed(isUp);
    if (!isUp || !this.#isTold) return;
    this.#isTold = false;
    this.#options.core.log.info({ engine: this.#options.program }, 'engine.up');
  }

  #kill(): void {
    if (this.#child?.pid !== undefined) signal(this.#child.pid, 'SIGKILL');
  }
}

/** The exit code of a shell that finds no such program. */
const notFound = 127;
const longestReason = 2000;

/** The last line of an engine that says why it cannot start. */
const reasonIn = (said: string): string => /^Error: (.{1,300})/m.exec(said)?.[1] ?? '';

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name);
  } catch {
    // It has ended.
  }
}
