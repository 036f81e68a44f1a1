import { answer } from '../ipc.ts';
import { closedLoop, failover, probe } from './closed.ts';
import type { Job } from './jobs.ts';
import { openLoop } from './open.ts';
import { firstToken, hold, release, streams } from './streams.ts';

/** The load process: runs one job after the other as the benchmark asks for them. */
answer(0, { run: (job) => run(job as Job) });

function run(job: Job): unknown {
  switch (job.kind) {
    case 'probe':
      return probe(job);
    case 'closed':
      return closedLoop(job);
    case 'open':
      return openLoop(job);
    case 'streams':
      return streams(job);
    case 'first-token':
      return firstToken(job);
    case 'hold':
      return hold(job);
    case 'release':
      return release();
    case 'failover':
      return failover(job);
  }
}
