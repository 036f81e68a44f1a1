import { dirname } from 'node:path';
import type { TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { hold, secret, type Held } from '../registry/tools.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { bearer, behind, chat, type Behind } from './behind.ts';

/** A gate whose keys and bans another instance can change, and whose time a test moves. */
export interface Guarded extends Behind {
  readonly clock: FakeClock;
  /** Another instance, which shares the gate's keys and bans. */
  readonly other: Held;
  /** What the gate answers to a client at an address: `200`, or the code of its refusal. */
  from(ip: string, path?: string, headers?: Record<string, string>): Promise<string>;
  /** Lets the gate look at what the other instance has changed. */
  look(): Promise<void>;
}

export async function guarded(t: TestContext, config: ConfigInput = {}, answer?: Parameters<typeof behind>[2]): Promise<Guarded> {
  const clock = fakeClock();
  const gate = await behind(t, { secret, ...config }, answer, { clock });
  const other = await hold(t, dirname(gate.gate.config.audit.path), { clock: fakeClock() });
  await gate.gate.ready;
  return {
    ...gate, clock, other,
    async from(ip, path = '/v1/chat/completions', headers = bearer) {
      const { status, text } = await gate.ask(path, { headers: { 'X-Forwarded-For': ip, ...headers }, ...(path.startsWith('/v1/chat') && { body: chat }) });
      return status < 400 ? String(status) : `${status} ${/"code":"(\w+)"/.exec(text)?.[1] ?? ''}`;
    },
    async look() {
      clock.tick(1000);
      // Reading the file is a matter of microtasks, and what it brings is done a turn later.
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
