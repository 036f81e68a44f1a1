import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { standaloneEntry } from '../../support/standalone.ts';

/** One vector, tried in one way. */
export interface Trial {
  readonly group: string;
  /** How it reached the gate. */
  readonly via: string;
  readonly vector: string;
  readonly expected: string;
  /** What happened instead; null where it held. */
  readonly got: string | null;
}

/**
 * Keeps what was found, also in a file, so that a run that was broken off goes on where it was: for the same gate and the same
 * vectors only.
 */
export class Ledger {
  readonly trials: Trial[] = [];
  readonly #file: string;
  readonly #done = new Set<string>();
  readonly #ends: number;

  /** @param seconds after which nothing new is begun. */
  constructor(seconds: number) {
    this.#ends = performance.now() + seconds * 1000;
    this.#file = join(tmpdir(), `heimdall-attack-${stateOf().slice(0, 12)}.jsonl`);
    if (!existsSync(this.#file)) writeFileSync(this.#file, '', { mode: 0o600 });
    for (const line of readFileSync(this.#file, 'utf8').split('\n')) {
      if (line.endsWith('}')) this.#keep(JSON.parse(line) as Trial);
    }
  }

  /** Whether it was tried before, or there is no time left for it. */
  skips(group: string, via: string, vector: string): boolean {
    return this.#done.has(`${group} ${via} ${vector}`) || this.late;
  }

  get late(): boolean {
    return performance.now() > this.#ends;
  }

  note(trial: Trial): void {
    this.#keep(trial);
    appendFileSync(this.#file, `${JSON.stringify(trial)}\n`);
  }

  /** The next run starts anew. */
  complete(): void {
    rmSync(this.#file, { force: true });
  }

  #keep(trial: Trial): void {
    this.trials.push(trial);
    this.#done.add(`${trial.group} ${trial.via} ${trial.vector}`);
  }
}

/** Changes with the gate's code and the vectors. */
function stateOf(): string {
  const state = createHash('sha256').update([standaloneEntry, process.env['PROVE_DOOR'], process.env['PROVE_WORKERS']].join(' '));
  for (const root of [join(standaloneEntry, '../../../lib'), import.meta.dirname]) {
    for (const name of globSync('**/*.ts', { cwd: root }).toSorted()) {
      const { mtimeMs, size } = statSync(join(root, name));
      state.update(`${name} ${mtimeMs} ${size}\n`);
    }
  }
  return state.digest('hex');
}
