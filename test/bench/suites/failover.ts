import type { Bench, SuiteResult } from '../bench.ts';
import type { FailoverResult } from '../load/jobs.ts';
import { quantile, show, table } from '../numbers.ts';
import { freePort } from '../processes.ts';

/** What DESIGN allows between the refusal and the second target, in milliseconds. */
const BAR = 5;

/**
 * A first target that refuses: how long from the caller's request to the second target's sight of it? That is an
 * upper bound of the time from the refusal, since it contains the whole way in.
 */
export async function failover(bench: Bench): Promise<SuiteResult> {
  const second = await bench.helper('second', './upstream.ts', ['stamp']);
  const contestant = await bench.start('heimdall', { upstream: second.port, refused: await freePort() });
  if (contestant === undefined) {
    await second.stop();
    return report(undefined);
  }
  const { to, child } = contestant;
  try {
    await bench.run<FailoverResult>({ kind: 'failover', to, samples: 200 });
    return report(await bench.run<FailoverResult>({ kind: 'failover', to, samples: bench.options.quick ? 200 : 1000 }));
  } finally {
    await child?.stop();
    await second.stop();
  }
}

function report(result: FailoverResult | undefined): SuiteResult {
  const samples = result?.samples ?? [];
  const shares = [0.5, 0.9, 0.99, 1];
  const cells = shares.map((share) => show(quantile(samples, share)));
  const failed = result === undefined ? '' : `, ${result.errors} failed${result.firstError === undefined ? '' : ` (${result.firstError})`}`;
  const text = `Failover: the first target refuses every connection; ms from the caller's request to the second
target's sight of it, ${samples.length} requests${failed}.

${table([['', 'p50', 'p90', 'p99', 'max'], ['heimdall', ...cells]])}`;
  const tail = quantile(samples, 0.99);
  const verdicts = [
    {
      bar: `second target contacted ≤ ${BAR} ms after the first refused (p99)`,
      measured: show(tail, ' ms'),
      reached: samples.length === 0 ? undefined : tail <= BAR,
    },
    {
      bar: '0 failed requests while a target lives',
      measured: result === undefined ? '–' : String(result.errors),
      reached: result === undefined ? undefined : result.errors === 0,
    },
  ];
  return { name: 'failover', text, verdicts, data: result };
}
