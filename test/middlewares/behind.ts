import { createHash } from 'node:crypto';
import type { IncomingMessage, RequestListener } from 'node:http';
import type { TestContext } from 'node:test';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { request, type Answer, type RequestOptions } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

/** A gate before an upstream that signs as NewAPI does. */
export interface Behind extends RunningGate {
  /** What reached the upstream. */
  readonly seen: readonly IncomingMessage[];
  /** Asks the gate. */
  ask(path: string, options?: RequestOptions): Promise<Answer>;
}

/** A token NewAPI could have given out. */
export const token = `sk-${'T0kenOfACaller16'.repeat(3)}`;
export const bearer = { Authorization: `Bearer ${token}` };
export const chat = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }] };

/** A key of the gate's own, as the configuration lists it. */
export const gatewayKey = 'sk-a-key-of-the-gate-that-is-long-enough';
export const listed = { name: 'team', sha256: createHash('sha256').update(gatewayKey).digest('hex') };
export const keyed = { Authorization: `Bearer ${gatewayKey}` };

const fine: RequestListener = (req, res) => {
  req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"ok":true}'));
};

/** @param answer what the upstream does; default: says that all is well. */
export async function behind(t: TestContext, config: ConfigInput = {}, answer: RequestListener = fine, options: GateOptions = {}): Promise<Behind> {
  const seen: IncomingMessage[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    seen.push(req);
    answer(req, res);
  });
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, ...config }, options);
  return { ...gate, seen, ask: (path, asked) => request(gate.url + path, asked) };
}

/** The code of an error in OpenAI's dialect. */
export const codeOf = (answer: Answer): string => answer.json<{ error: { code: string } }>().error.code;
