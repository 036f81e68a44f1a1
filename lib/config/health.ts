import { key, map, sectionOrNull } from './fields.ts';
import { duration, flag, integer, share, text } from './value-types.ts';

/** What can be looked at. */
export const CHECKS = ['memory', 'cpu', 'disk', 'latency'] as const;
/** Of these, one alone makes the `health_check` at the top that of `server`. */
export const SERVER_HEALTH = ['memoryThreshold', 'cpuThreshold', 'diskThreshold', 'latencyThreshold', 'checks'] as const;

/** When the gateway takes no new work because its machine has nothing left. */
export const serverHealth = sectionOrNull(
  'ServerHealthConfig',
  'Sheds new work while the machine is short of something; also as health_check at the top when it names one of the thresholds',
  {
    enabled: key(flag(), true, 'Whether anything is looked at'),
    interval: key(duration('60s', 50), '60s', 'Time between two looks'),
    timeout: key(duration('5s'), '5s', 'How long a look may take; a later one counts as bad'),
    threshold: key(integer(3, 1, 100), 3, 'Bad looks in a row after which new work is shed; also as failure_threshold'),
    checks: map(
      text('how to look', 'system'),
      `What is looked at: ${CHECKS.join(', ')}; none named means all. The value is a note for readers`,
    ),
    memoryThreshold: key(share('90%'), '90%', 'Share of the memory in use, of the container where there is one'),
    cpuThreshold: key(share('80%'), '80%', 'Share of the processors in use since the last look'),
    diskThreshold: key(share('95%'), '95%', 'Share of the disk of audit.path in use'),
    latencyThreshold: key(duration('500ms'), '500ms', 'Delay the gateway itself adds, p99 since the last look'),
  },
);
