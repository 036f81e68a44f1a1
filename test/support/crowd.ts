import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { GatewayKeyInput } from '../../lib/index.ts';
import { request, type Answer } from './client.ts';

/** A caller with a key of the gate's own. */
export interface Caller {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  /** As the configuration lists it. */
  readonly key: GatewayKeyInput;
}

/** @param upstreamCredential what NewAPI gets in its place. */
export function callerNamed(name: string, upstreamCredential: string): Caller {
  const key = `sk-key-of-${name}-that-is-long-enough-for-a-gate`;
  return {
    name,
    headers: { Authorization: `Bearer ${key}` },
    key: { name, sha256: createHash('sha256').update(key).digest('hex'), upstreamCredential },
  };
}

/** How a request fared. */
export interface Fared {
  readonly status: number;
  /** Milliseconds by the gate's own word. */
  readonly wait: number;
  readonly position: number;
  /** Milliseconds from asking to the end of the answer. */
  readonly took: number;
  /** How often it was sent away before. */
  readonly sentAway: number;
}

export const chatBody = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] };

function fared(answer: Answer, took: number, sentAway: number): Fared {
  const { 'x-queue-wait': wait, 'x-queue-position': position } = answer.headers;
  return { status: answer.status, wait: Number(wait ?? Number.NaN), position: Number(position ?? Number.NaN), took, sentAway };
}

/** Asks for a chat and, when told to come back, comes back when told. @param tries in all. */
export async function obey(url: string, headers: Readonly<Record<string, string>>, tries: number): Promise<Fared> {
  for (let sentAway = 0; ; sentAway++) {
    const began = performance.now();
    const answer = await request(`${url}/v1/chat/completions`, { headers, body: chatBody });
    const after = Number(answer.headers['retry-after']);
    if (answer.status !== 503 || sentAway + 1 >= tries || !(after > 0)) return fared(answer, performance.now() - began, sentAway);
    await pause(after * 1000);
  }
}

/** One request after another while `goesOn`. */
export async function oneAtATime(url: string, headers: Readonly<Record<string, string>>, goesOn: () => boolean): Promise<Fared[]> {
  const all: Fared[] = [];
  while (goesOn()) all.push(await obey(url, headers, 1));
  return all;
}

/** The value below which that share of all lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
