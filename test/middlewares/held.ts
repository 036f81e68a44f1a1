import type { RequestListener, ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { request, until, type Answer } from '../support/client.ts';
import { bearer, behind, chat, type Behind } from './behind.ts';

export const path = '/v1/chat/completions';
export const metrics = { token: 'a-token-for-metrics' };

/** A gate whose upstream answers when the test says so. */
export interface Scene extends Behind {
  /** Answers the upstream has not given yet, the oldest first. */
  readonly held: ServerResponse[];
  /** A chat from an address of its own, so with a fairness key of its own. */
  from(address: string, signal?: AbortSignal): Promise<Answer>;
  /** Waits until so many model requests wait. */
  waiting(count: number): Promise<void>;
  gauge(name: string): Promise<number>;
  /** The upstream answers the oldest. */
  answer(): Promise<void>;
}

/** Starts it; ends with the test. */
export async function scene(t: TestContext, queue: ConfigInput['queue'], config: ConfigInput = {}, options: GateOptions = {}): Promise<Scene> {
  const held: ServerResponse[] = [];
  const hold: RequestListener = (req, res) => {
    res.on('close', () => {
      if (held.includes(res)) held.splice(held.indexOf(res), 1);
    });
    req.resume().on('end', () => void held.push(res));
  };
  const at = await behind(t, { ...config, queue: { ...queue }, metrics }, hold, options);
  const gauge = async (name: string): Promise<number> => {
    const { text } = await request(`${at.url}/metrics`, { headers: { Authorization: `Bearer ${metrics.token}` } });
    return Number(new RegExp(`^heimdall_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  };
  return {
    ...at,
    held,
    gauge,
    from: (address, signal) => at.ask(path, { body: chat, headers: { ...bearer, 'X-Forwarded-For': address }, ...(signal && { signal }) }),
    waiting: async (count) => void (await until(async () => (await gauge('queue_waiting')) === count)),
    async answer() {
      const res = await until(() => held[0]);
      held.shift();
      res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"ok":true}');
    },
  };
}
