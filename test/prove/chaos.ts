import { leaving } from './chaos/leaving.ts';
import { newapi, newapiAlone, ours, oursAlone, told, type Setting } from './chaos/rules.ts';
import { scenarios } from './chaos/scenarios.ts';
import { downAndBack, neighbours, stallsAtConnect } from './chaos/stories.ts';
import { isClean, numbersOf, play, type Tally } from './chaos/trial.ts';
import type { Finding } from './proof.ts';

/** Rows played at a time: most of each is waiting. */
const atOnce = 4;
/** Cases of a target of ours that stands alone, spread evenly: every retry has to be paid for by traffic, or by a gate of its own. */
const mostAlone = 150;
/** Complaints printed of each row. */
const shown = 5;

interface Row {
  readonly name: string;
  readonly setting: Setting;
  play(): Promise<Tally>;
}

const stories: Readonly<Record<string, (setting: Setting) => Promise<Tally>>> = {
  'an upstream stalls at connect': stallsAtConnect,
  'all targets down, and back': downAndBack,
  'the client leaves, in each phase': leaving,
};

const rows: readonly Row[] = [
  ...scenarios.flatMap((scenario) => scenario.settings.map((setting): Row => ({ name: scenario.name, setting, play: () => play(scenario, setting, setting === oursAlone ? mostAlone : undefined) }))),
  ...Object.entries(stories).flatMap(([name, story]) => [newapi, ours, newapiAlone, oursAlone].map((setting): Row => ({ name, setting, play: () => story(setting) }))),
  { name: 'neighbours who ask too much, or for nothing', setting: newapi, play: neighbours },
];

/** Everything an upstream, a network and a client can do to a request, and what client and upstreams then see. */
export async function chaos(): Promise<Finding> {
  const found: Tally[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < rows.length) {
      const at = next++;
      found[at] = await (rows[at] as Row).play();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  for (const [at, { complaints }] of found.entries()) {
    const { name, setting } = rows[at] as Row;
    for (const complaint of complaints.slice(0, shown)) process.stdout.write(`${name} (${told(setting)}): ${complaint}\n`);
    if (complaints.length > shown) process.stdout.write(`… and ${complaints.length - shown} more\n`);
  }
  const table = found.map((counted, at) => ({ 'what happens': (rows[at] as Row).name, asked: told((rows[at] as Row).setting), ...numbersOf(counted) }));
  const cases = found.reduce((sum, counted) => sum + counted.cases, 0);
  return { rows: table, bar: `of ${cases} requests those fail that are due to, as the rules say; nothing twice, nothing paid for twice, nothing left`, holds: found.every(isClean) };
}
