import { parseArgs } from 'node:util';
import { outages } from './outages.ts';
import { soak } from './soak.ts';
import { startup } from './startup.ts';
import type { Proof } from './proof.ts';

/** What takes too long for `npm test`; each prints its table and says whether it holds. */
const proofs: Readonly<Record<string, Proof>> = { startup, outages, soak };

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const chosen = values.only === undefined ? Object.keys(proofs) : values.only.split(',');
let failed = 0;
for (const name of chosen) {
  const proof = proofs[name];
  if (proof === undefined) throw new Error(`--only: expected one of ${Object.keys(proofs).join(', ')}, got ${JSON.stringify(name)}`);
  process.stdout.write(`\n${name}\n`);
  const { rows, holds, bar } = await proof();
  console.table(rows);
  process.stdout.write(`${holds ? 'holds' : 'FAILS'}: ${bar}\n`);
  if (!holds) failed++;
}
process.stdout.write(`\n${chosen.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
