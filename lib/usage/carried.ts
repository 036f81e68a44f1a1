import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';
import { endOfValue, headerOf, skipSpace } from '../http/http.ts';
import { Tail } from './tail.ts';
import { count } from './tokens.ts';
import { documentTap, streamTap, type UsageTap } from './meter.ts';

/**
 * The tap for an answer that is carried, not judged: Gemini's own API, and what else NewAPI relays below `/v1`. Null for one
 * that holds no tokens or cannot be read.
 */
export function carriedTap({ route, req }: Context, status: number, head: readonly string[]): UsageTap | null {
  const type = headerOf(head, 'content-type') ?? '';
  if (route.class !== 'task' || req.method !== 'POST' || status >= 300 || headerOf(head, 'content-encoding') !== null) return null;
  const isStream = type.startsWith('text/event-stream');
  if (!isStream && !type.includes('json')) return null;
  if (route.errors === 'gemini') return new GeminiTap();
  return route.errors === 'openai' ? (isStream ? streamTap(0) : documentTap(0)) : null;
}

/** Bytes kept of an answer's end. */
const keptBytes = 65_536;

/** Each may cost a walk to the end. */
const mostTries = 16;

const name = Buffer.from('"usageMetadata"');
const colon = 0x3a;

/** Documents, arrays and streams of Gemini's API: the last `usageMetadata` counts for all before it. */
class GeminiTap implements UsageTap {
  readonly over = false;
  readonly #tail = new Tail(keptBytes);

  push(chunk: Buffer): void {
    this.#tail.append(chunk);
  }

  end(): Usage | null {
    const bytes = this.#tail.take();
    let at = bytes.length;
    for (let tries = 0; tries < mostTries && at > 0; tries++) {
      at = bytes.lastIndexOf(name, at - 1);
      if (at === -1) return null;
      const usage = usageAt(bytes, at + name.length);
      if (usage !== null) return usage;
    }
    return null;
  }
}

function usageAt(bytes: Buffer, behindName: number): Usage | null {
  const at = skipSpace(bytes, behindName);
  if (bytes[at] !== colon) return null;
  const from = skipSpace(bytes, at + 1);
  const to = endOfValue(bytes, from);
  try {
    return to === -1 ? null : usageOf(JSON.parse(bytes.toString('utf8', from, to)) as Readonly<Record<string, unknown>>);
  } catch {
    return null;
  }
}

/** Thinking is counted apart, what a tool was asked with the prompt. */
function usageOf(report: Readonly<Record<string, unknown>>): Usage | null {
  const reasoning = count(report['thoughtsTokenCount']);
  const prompt = count(report['promptTokenCount']) + count(report['toolUsePromptTokenCount']);
  const completion = count(report['candidatesTokenCount']) + reasoning;
  const total = Math.max(prompt + completion, count(report['totalTokenCount']));
  if (total === 0) return null;
  return { prompt, completion: Math.max(completion, total - prompt), cached: Math.min(prompt, count(report['cachedContentTokenCount'])), reasoning, estimated: false };
}
