import type { Server } from 'node:http';
import type { ListenOptions } from 'node:net';
import { codeOf, guard } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';

/** How often errors of a server that listens are said, milliseconds. */
const sayEvery = 60_000;

/**
 * Opens the address of a server. What fails after that, as a connection for which no file is left, is said and ends nothing.
 * Rejects when the address cannot be opened.
 */
export function listening(server: Server, { clock, log }: Pick<Core, 'clock' | 'log'>, address: ListenOptions): Promise<void> {
  let saidAt = Number.NEGATIVE_INFINITY;
  const failed = guard(log, 'listen', (error: Error) => {
    if (clock.monotonic() - saidAt < sayEvery) return;
    saidAt = clock.monotonic();
    log.error({ code: codeOf(error), effect: 'the server goes on listening' }, 'listener.failed');
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(address, () => {
      server.off('error', reject).on('error', failed);
      resolve();
    });
  });
}
