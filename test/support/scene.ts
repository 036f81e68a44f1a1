import type { TestContext } from 'node:test';
import type { ConfigInput, LlmInput, LlmTargetInput } from '../../lib/index.ts';

import { closing, request, type Answer, type RequestOptions } from './client.ts';
import { startGate, type RunningGate } from './gate.ts';
import { startProvider, type Provider, type ProviderOptions } from './provider.ts';

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

/** About as short as a patience can be on a busy machine. */
const patience = 120;

export const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three' }] };

export const bearer = (key: string): { readonly Authorization: string } => ({ Authorization: `Bearer ${key}` });

export async function startScene(t: TestContext, { llm, target, primary: manner, ...config }: SceneOptions = {}): Promise<Scene> {
  const primary = closing(t, await startProvider({ name: 'primary', ...manner }));
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const gate = await startGate(t, {
    ...config,
    newapi: { baseUrl: primary.url },
    llm: {
      backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN, ...target }],
      ...llm,
      timeouts: { connect: patience, firstByte: patience, idle: patience, ...llm?.timeouts },
    },
  });
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

/** Who answered a chat, from the answer itself. */
export function servedBy(answer: { readonly text: string }): string | undefined {
  return /"model":"(\w+)\//.exec(answer.text)?.[1];
}
