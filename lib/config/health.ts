import { key, map, sectionOrNull } from './fields.ts';
import { duration, flag, integer, share, text } from './value-types.ts';

/** Resources that can be checked. */
export const CHECKS = ['memory', 'cpu', 'disk', 'latency'] as const;
/** Any one of these keys makes the top-level `health_check` an alias of `server.health_check`. */
export const SERVER_HEALTH = ['memoryThreshold', 'cpuThreshold', 'diskThreshold', 'latencyThreshold', 'checks'] as const;

/** The section `server.health_check`: load shedding by the resources of the machine. */
export const serverHealth = sectionOrNull(
  'ServerHealthConfig',
  'Load shedding while the machine is short of a resource. Also as the top-level health_check when it names one of the thresholds',
  {
    enabled: key(flag(), true, 'Checks the resources'),
    interval: key(duration('60s', 50), '60s', 'Time between two checks'),
    timeout: key(duration('5s'), '5s', 'Longest time of a check. A slower check counts as failed'),
    threshold: key(integer(3, 1, 100), 3, 'Consecutive failed checks after which new requests are refused. Also as failure_threshold'),
    checks: map(
      text('a note', 'system'),
      `Resources to check: ${CHECKS.join(', ')}. Empty checks all. The value is a note without effect`,
    ),
    memoryThreshold: key(share('90%'), '90%', 'Highest share of memory in use, of the container where there is one'),
    cpuThreshold: key(share('80%'), '80%', 'Highest share of processor time in use since the last check'),
    diskThreshold: key(share('95%'), '95%', 'Highest share of the disk of audit.path in use'),
    latencyThreshold: key(duration('500ms'), '500ms', 'Highest delay that the gateway itself adds, p99 since the last check'),
  },
);
