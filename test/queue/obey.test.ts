import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { desk, type Desk } from './fake.ts';

const second = 1000;

describe('who obeys Retry-After', () => {
  /** Comes again as told until it gets in; says how often it was sent away. */
  function persevere(at: Desk, fairnessKey: string, hold: number, later: Map<number, (() => void)[]>, refusals: number[], who: number): void {
    const asked = at.arrive(fairnessKey);
    const on = (ms: number, run: () => void): void => void later.set(at.clock.now() + ms, [...(later.get(at.clock.now() + ms) ?? []), run]);
    const follow = (): void => {
      if (asked.state === 'refused') {
        asked.end();
        refusals[who] = (refusals[who] ?? 0) + 1;
        return on((asked.error?.retryAfter ?? 0) * second, () => persevere(at, fairnessKey, hold, later, refusals, who));
      }
      if (asked.state === 'running') return on(hold, () => asked.end());
      on(10, follow);
    };
    follow();
  }

  const scenes = { 'of one caller': () => 'a', 'of as many callers': (n: number) => `caller ${n}` };
  for (const [crowd, keyFor] of Object.entries(scenes)) {
    for (const [hold, concurrency, initialSize] of [[100, 4, 20], [1000, 4, 20], [3000, 8, 8], [50, 1, 1]] as const) {
      it(`is admitted the next time, in a crowd ${crowd}, ${concurrency} slots of ${hold} ms and ${initialSize} places`, () => {
        const at = desk({ concurrency, initialSize });
        const first = at.arrive('first');
        at.clock.tick(hold);
        first.end();
        const later = new Map<number, (() => void)[]>();
        const refusals: number[] = [];
        const crowdSize = 200;
        for (let who = 0; who < crowdSize; who++) persevere(at, keyFor(who), hold, later, refusals, who);
        for (let ms = 0; later.size > 0; ms += 10) {
          at.clock.tick(10);
          const due = [...later.keys()].filter((time) => time <= at.clock.now()).sort((a, b) => a - b);
          for (const time of due) {
            const runs = later.get(time) ?? [];
            later.delete(time);
            for (const run of runs) run();
          }
          at.look();
          assert.ok(ms < 3_600_000);
        }
        const again = refusals.filter((count) => count > 1).length;
        assert.equal(at.started.length, crowdSize + 1);
        assert.ok(again <= crowdSize / 10, `${again} of ${crowdSize} were sent away twice`);
      });
    }
  }
});
