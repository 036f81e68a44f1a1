import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { leaving } from '../prove/chaos/leaving.ts';
import { newapi, oursAlone, told, type Setting } from '../prove/chaos/rules.ts';
import { scenarios } from '../prove/chaos/scenarios.ts';
import { downAndBack, stallsAtConnect } from '../prove/chaos/stories.ts';
import { isClean, play, type Scenario, type Tally } from '../prove/chaos/trial.ts';

/** Cases of a row; `npm run prove` plays them all, in every setting. */
async function few({ waits, cases }: Scenario): Promise<number> {
  if (waits) return 5;
  // So many differ in nothing but the byte at which something happens.
  return (await cases()).length > 100 ? 6 : 20;
}

const stories = { 'an upstream stalls at connect': stallsAtConnect, 'all targets go down and come back': (setting: Setting) => downAndBack(setting, 1), 'the client leaves, in each phase': leaving };

function holds(counted: Tally): void {
  assert.deepEqual(counted.complaints, []);
  assert.ok(isClean(counted) && counted.cases > 0, JSON.stringify(counted));
}

describe('a short form of the chaos table', { concurrency: 4 }, () => {
  for (const scenario of scenarios) {
    const ends: ReadonlySet<Setting | undefined> = new Set([scenario.settings[0], scenario.settings.at(-1)]);
    for (const setting of ends) if (setting) it(`${scenario.name} (${told(setting)})`, async () => holds(await play(scenario, setting, await few(scenario))));
  }
  for (const [name, story] of Object.entries(stories)) {
    for (const setting of [newapi, oursAlone]) it(`${name} (${told(setting)})`, async () => holds(await story(setting)));
  }
});
