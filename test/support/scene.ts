import type { ConfigInput, LlmInput, LlmTargetInput } from '../../lib/index.ts';

import { closing, request, within, type Answer, type RequestOptions, type TestLike } from './client.ts';
import { leapingClock } from './clock.ts';
import { startGate, type RunningGate } from './gate.ts';
import { startProvider, type Call, type Provider, type ProviderOptions } from './provider.ts';

/** The caller's token at NewAPI, and the gate's own key at the backup. */
export const CALLER = 'sk-callersecretcallersecretcallersecretcallersecret';
export const OWN = 'our-own-secret-key-at-the-backup';

/** A gate before a NewAPI that can be made to fail, with a backup of its own. */
export interface Scene {
  /** Stands for NewAPI; its answers are not signed with NewAPI's request id. */
  readonly primary: Provider;
  readonly backup: Provider;
  readonly gate: RunningGate;
  /** POST with the caller's token; the default is a chat. */
  ask(options?: RequestOptions & { readonly path?: string }): Promise<Answer>;
  /** Has the primary accept the caller's token once. `close` ends the connection, so that the next request is the first on its own. */
  verify(close?: boolean): Promise<void>;
}

export interface SceneOptions extends Omit<ConfigInput, 'llm' | 'newapi'> {
  readonly llm?: LlmInput;
  /** Laid over the backup's target. */
  readonly target?: LlmTargetInput;
  readonly primary?: ProviderOptions;
}

/** Longer than any machine is busy. */
const patience = 20_000;

export const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three' }] };

export const bearer = (key: string): { readonly Authorization: string } => ({ Authorization: `Bearer ${key}` });

/**
 * Without a journal, whose thread costs more than the requests of such a test; `audit: {}` brings it.
 * An upstream that falls silent has used up the gate's patience at once, unless the test sets time limits of its own.
 */
export async function startScene(t: TestLike, { llm, target, primary: manner, ...config }: SceneOptions = {}): Promise<Scene> {
  const clock = leapingClock();
  const silent = llm?.timeouts === undefined ? (call: Call) => void outwait(clock, call) : undefined;
  const primary = closing(t, await startProvider({ name: 'primary', ...(silent && { silent }), ...manner }));
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN, ...(silent && { silent }) }));
  const gate = await startGate(t, {
    audit: false,
    ...config,
    newapi: { baseUrl: primary.url },
    llm: {
      backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN, ...target }],
      ...llm,
      timeouts: { connect: patience, firstByte: patience, idle: patience, ...llm?.timeouts },
      retry: { initialDelay: 1, maxDelay: 2, ...llm?.retry },
    },
  }, { clock });
  const ask: Scene['ask'] = ({ path = '/v1/chat/completions', headers = bearer(CALLER), method = 'POST', ...options } = {}) =>
    request(gate.url + path, { method, headers, ...(method === 'POST' && { body: chat }), ...options });
  const verify = async (close = false): Promise<void> => {
    await primary.script([{ kind: 'ok', close }]);
    const answer = await ask();
    if (answer.status !== 200) throw new Error(`Expected a verified caller, got ${answer.status} ${answer.text}`);
    primary.clear();
    backup.clear();
  };
  return { primary, backup, gate, ask, verify };
}

/** Lets the gate's patience with a request end, as often as it takes: what was written last may not have been read yet. */
async function outwait(clock: ReturnType<typeof leapingClock>, call: Call): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  while (!call.finished && !call.aborted) {
    clock.leap(patience);
    await within(300, () => call.finished || call.aborted);
  }
}

/** Who answered a chat, from the answer itself. */
export function servedBy(answer: { readonly text: string }): string | undefined {
  return /"model":"(\w+)\//.exec(answer.text)?.[1];
}
