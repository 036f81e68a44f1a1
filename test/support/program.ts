import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { until, type TestLike } from './client.ts';

/** A program that a test has started. */
export interface Program {
  readonly child: ChildProcess;
  /** Its exit code, or the signal that ended it, once its last words are read. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** What it said so far on its piped outputs, together. */
  said(): string;
  /** What it said so far on its standard output. */
  out(): string;
  /** What `check` gives once it is truthy; an error with all it said when the program ends before. @param what the program should do. */
  does<T>(check: () => T | Promise<T>, what: string): Promise<NonNullable<T>>;
  /** Ends it without a word. */
  kill(): Promise<void>;
}

/**
 * Starts a program; it is killed after the test. What waits for it notices its end at once, so that a test fails with the reason and
 * not for want of time.
 * @param options as those of `spawn`; default: no input, both outputs kept.
 */
export function startProgram(t: TestLike, command: string, args: readonly string[], options: SpawnOptions = {}): Program {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let [out, said] = ['', ''];
  child.stdout?.on('data', (text: Buffer) => void (out += String(text)));
  for (const output of [child.stdout, child.stderr]) output?.on('data', (text: Buffer) => void (said += String(text)));
  const gone = once(child, 'exit').catch(() => undefined);
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  let how: number | NodeJS.Signals | Error | null = null;
  ended.then((end) => (how = end), (error: Error) => (how = error));
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await gone;
  };
  t.after(kill);
  return {
    child,
    ended,
    said: () => said,
    out: () => out,
    async does(check, what) {
      try {
        return await until(async () => {
          const end = how;
          const value = await check();
          if (!value && end !== null) throw new Error(`Expected ${what}, but the program ended (${String(end)})`);
          return value;
        }, what);
      } catch (error) {
        throw new Error(`${(error as Error).message}. It said: ${said}`, { cause: error });
      }
    },
    kill,
  };
}
