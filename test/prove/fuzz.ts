import fc from 'fast-check';
import { properties } from './fuzz/properties.ts';
import type { Finding } from './proof.ts';

const inputs = Number(process.env['PROVE_FUZZ'] ?? 1_000_000);
const seed = Number(process.env['PROVE_SEED'] ?? 20_261_130);

/** Every parser on inputs drawn at random: it never throws, and agrees with a reference. */
export async function fuzz(): Promise<Finding> {
  const all = properties.reduce((sum, { share }) => sum + share, 0);
  const rows: Record<string, string | number>[] = [];
  let drawn = 0;
  let failed = 0;
  for (const { parser, reference, share, property } of properties) {
    const numRuns = Math.ceil((inputs * share) / all);
    const began = performance.now();
    const { failed: fails, counterexample, errorInstance, numRuns: ran } = await fc.check(property, { numRuns, seed, endOnFailure: true });
    drawn += ran;
    if (fails) failed++;
    rows.push({ parser, reference, inputs: ran, seconds: Math.round((performance.now() - began) / 1000), found: fails ? `${JSON.stringify(counterexample)}: ${String(errorInstance).slice(0, 300)}` : '' });
  }
  return { rows, bar: `no parser throws or differs from its reference on ${drawn} inputs (seed ${seed})`, holds: failed === 0 && drawn >= inputs };
}
