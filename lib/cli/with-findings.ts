import { Findings } from '../anomaly/anomaly.ts';
import { systemClock } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import type { Invocation } from './command.ts';
import { withRegistry, type Opened } from './registry.ts';

/** Runs a command on the findings of the gates with the same configuration. Apart from `findings.ts`, since the admin API takes a quarter of a second to load. */
export const withFindings = (invocation: Invocation, use: (findings: Findings, opened: Opened) => Promise<void>): Promise<number> =>
  withRegistry(invocation, (opened) => {
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    return use(new Findings({ config: opened.config, clock: systemClock, log } as unknown as Core, opened.registry), opened);
  });
