import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { CircuitBreakerInput, ConfigInput, LlmInput, RetryInput } from '../../lib/index.ts';
import { closing, request, until, type Answer, type RequestOptions } from './client.ts';
import { fakeClock, type FakeClock } from './clock.ts';
import { startGate, type RunningGate } from './gate.ts';
import { startProvider, type Provider } from './provider.ts';
import { bearer, chat } from './scene.ts';

/** A gateway key that is let in. */
export const KEY = 'sk-ring-key-of-forty-characters-or-more';

/** A gate whose targets are all asked with our own keys, on a clock that only the test moves. */
export interface Ring {
  readonly clock: FakeClock;
  readonly gate: RunningGate;
  readonly targets: readonly Provider[];
  /** A chat with a key that is let in. */
  ask(options?: RequestOptions & { readonly path?: string; readonly model?: string; readonly stream?: boolean }): Promise<Answer>;
  /** Resolves when nothing but a wait between rounds is left to do. */
  resting(): Promise<void>;
  /** Requests that each target has seen. */
  calls(): number[];
}

export interface RingOptions extends Omit<ConfigInput, 'llm' | 'circuitBreaker'> {
  /** Default 1. */
  readonly size?: number;
  readonly llm?: LlmInput;
  readonly retry?: RetryInput;
  readonly circuitBreaker?: CircuitBreakerInput;
}

/** Without a journal; `audit: {}` brings it. */
export async function startRing(t: TestContext, { size = 1, llm, retry, circuitBreaker, ...config }: RingOptions = {}): Promise<Ring> {
  const targets: Provider[] = [];
  for (let n = 0; n < size; n++) targets.push(closing(t, await startProvider({ name: `t${n}`, key: `our-key-at-${n}` })));
  const [first, ...rest] = targets.map(({ endpoint }, n) => ({ provider: 'openai', endpoint, apiKey: `our-key-at-${n}` }));
  const clock = fakeClock();
  const sha256 = createHash('sha256').update(KEY).digest('hex');
  const gate = await startGate(t, {
    audit: false,
    ...config,
    auth: { mode: 'keys', keys: [{ name: 'ring', sha256 }] },
    circuitBreaker: { failureThreshold: 100, ...circuitBreaker },
    llm: { ...first, ...llm, backupProviders: rest.map((each, n) => ({ ...each, ...llm?.backupProviders?.[n] })), retry: { initialDelay: 100, ...retry } },
  }, { clock });
  const ask: Ring['ask'] = ({ path = '/v1/chat/completions', model = 'gpt-4o-mini', stream, ...options } = {}) =>
    request(gate.url + path, { headers: bearer(KEY), body: { ...chat, model, ...(stream && { stream }) }, ...options });
  return {
    clock, gate, targets, ask,
    resting: async () => void (await until(() => clock.armedBy('upstream/forward.ts') === 1, 'a wait between rounds')),
    calls: () => targets.map(({ calls }) => calls.length),
  };
}
