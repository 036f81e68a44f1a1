import { appendFileSync } from 'node:fs';
import { credentials } from './attack/credentials.ts';
import { floods } from './attack/floods.ts';
import { Ledger, type Trial } from './attack/ledger.ts';
import { oddities } from './attack/oddities.ts';
import { readings } from './attack/readings.ts';
import { smuggling } from './attack/smuggling.ts';
import type { Finding } from './proof.ts';

/** Bounds a run; what is left over is tried by the next. */
const seconds = Number(process.env['PROVE_ATTACK_SECONDS'] ?? 360);
/** Where a list of what did not hold is added to. */
const findings = process.env['PROVE_FINDINGS'];
const groups: Readonly<Record<string, (ledger: Ledger) => Promise<void>>> = { credentials, readings, oddities, floods, smuggling };
/** Groups to try, of those above. */
const chosen = process.env['PROVE_ATTACKS']?.split(',') ?? Object.keys(groups);
/** Measures how long others wait, so nothing else runs beside it. */
const alone = 'floods';
const isWhole = process.env['PROVE_ATTACKS'] === undefined;
const shownMost = 60;

/** A gate as strangers and strange upstreams meet it: what is sent to it on purpose to hurt it or its other callers. */
export async function attack(): Promise<Finding> {
  const ledger = new Ledger(seconds);
  const took = new Map<string, number>();
  const run = async (name: string): Promise<void> => {
    const began = performance.now();
    await groups[name]?.(ledger);
    took.set(name, Math.round((performance.now() - began) / 1000));
  };
  await Promise.all(chosen.filter((name) => name !== alone).map(run));
  if (chosen.includes(alone)) await run(alone);
  const { trials, late } = ledger;
  const failed = trials.filter(({ got }) => got !== null);
  if (findings !== undefined) appendFileSync(findings, failed.map(({ group, via, vector, expected, got }) => `- ${group}, ${via}: ${vector}. Expected ${expected}, got ${got}\n`).join(''));
  if (!late) ledger.complete();
  return {
    rows: [...tallies(trials, took), ...failed.slice(0, shownMost).map(({ group, via, vector, expected, got }) => ({ group, via, vector, expected, got: String(got) }))],
    bar: `each of ${trials.length} attacks is refused or harmless, and no other caller notices${late ? ' (time was up before all were tried: run it again)' : ''}`,
    holds: failed.length === 0 && !late && trials.length >= (isWhole ? 1000 : 1),
  };
}

function tallies(trials: readonly Trial[], took: ReadonlyMap<string, number>): Record<string, string | number>[] {
  const rows = new Map<string, { group: string; via: string; vectors: number; failed: number; seconds: number }>();
  for (const { group, via, got } of trials) {
    const row = rows.get(`${group} ${via}`) ?? { group, via, vectors: 0, failed: 0, seconds: took.get(group) ?? 0 };
    row.vectors++;
    if (got !== null) row.failed++;
    rows.set(`${group} ${via}`, row);
  }
  return [...rows.values()];
}
