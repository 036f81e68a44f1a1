import { parseArgs } from 'node:util';
import { aborts } from './aborts.ts';
import { attack } from './attack.ts';
import { chaos } from './chaos.ts';
import { http2Floods, http3Kills } from './edge.ts';
import { fuzz } from './fuzz.ts';
import { hosts } from './hosts.ts';
import { watch } from './watch.ts';
import { journal } from './journal.ts';
import { limits } from './limits.ts';
import { metrics } from './metrics.ts';
import { newapi } from './newapi.ts';
import { oddAnswers } from './odd-answers.ts';
import { outages } from './outages.ts';
import { page } from './page.ts';
import { pageLive } from './page-live.ts';
import { pageScale } from './page-scale.ts';
import { queue } from './queue.ts';
import { record } from './record.ts';
import { redis } from './redis.ts';
import { rolling } from './rolling.ts';
import { scale } from './scale.ts';
import { sinks } from './sinks.ts';
import { slowClients } from './slow-clients.ts';
import { slowReaders } from './slow-readers.ts';
import { soak } from './soak.ts';
import { streams } from './streams.ts';
import { startup } from './startup.ts';
import type { Proof } from './proof.ts';

/** What takes too long for `npm test`; each prints its table and says whether it holds. */
const proofs: Readonly<Record<string, Proof>> = { startup, answers: oddAnswers, chaos, 'slow-readers': slowReaders, outages, limits, redis, rolling, sinks, metrics, queue, aborts, soak, hosts, journal, record, newapi, attack, fuzz, watch, page, 'page-live': pageLive, 'page-scale': pageScale, 'http2-floods': http2Floods, 'http3-kills': http3Kills, scale, streams, 'slow-clients': slowClients };

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
// Node keeps a handle of some sockets that were reset while they closed, which would hold the process.
process.exit(failed === 0 ? 0 : 1);
