import { openStream } from '../../support/client.ts';

/** Something a client asks, as often as wanted, each time for another model. */
export interface Question {
  readonly path: string;
  /** Without one it is a GET. */
  readonly body?: object;
  readonly free?: boolean;
  readonly media?: boolean;
}

/** Stands for the model in a question's answer; as long as the names that take its place, so that offsets stay. */
export const anyModel = 'm-00000';
export const modelNamed = (n: number): string => `m-${String(n).padStart(5, '0')}`;

const messages = [{ role: 'user', content: 'say so' }];

/** What the table asks. */
export const questions = {
  chat: { path: '/v1/chat/completions', body: { messages } },
  stream: { path: '/v1/chat/completions', body: { messages, stream: true } },
  claude: { path: '/v1/messages', body: { messages, stream: true, max_tokens: 100 } },
  responses: { path: '/v1/responses', body: { input: 'say so', stream: true } },
  speech: { path: '/v1/audio/speech', body: { input: 'say so' }, media: true },
  image: { path: '/v1/images/generations', body: { prompt: 'a gate' }, media: true },
  models: { path: '/v1/models', free: true },
} as const satisfies Record<string, Question>;

export type Questions = keyof typeof questions;

export type Headers = Readonly<Record<string, string>>;

/** Sends a question; resolves when its answer is over, however it ended. */
export async function send(url: string, question: Question, model: string, headers: Headers, signal?: AbortSignal): Promise<Received> {
  const body = question.body && { model, ...question.body };
  const began = performance.now();
  const stream = await openStream(url + question.path, { headers, ...(body && { body }), ...(signal && { signal }) }).catch(() => null);
  if (stream === null) return { status: 0, text: '', complete: false, retryAfter: null, took: performance.now() - began };
  await stream.done;
  const retryAfter = stream.headers['retry-after'] ?? stream.headers['retry-after-ms'] ?? null;
  return { status: stream.status, text: Buffer.concat(stream.chunks).toString('latin1'), complete: stream.complete, retryAfter: retryAfter && String(retryAfter), took: performance.now() - began };
}

/** What came back. */
export interface Received {
  /** 0: the connection was cut before a head came. */
  readonly status: number;
  readonly text: string;
  /** It ended as it should by its framing. */
  readonly complete: boolean;
  readonly retryAfter: string | null;
  /** Milliseconds. */
  readonly took: number;
}

/** The right answers to a question, by who gives them. */
export type Right = Readonly<Record<'primary' | 'backup', string>>;

const interruption = /\n\n(?:event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\},"request_id":"[^"]+"\}|data: \{"error":\{"message":"[^"]+","type":"server_error","param":null,"code":"upstream_interrupted"\}\})\n\n$/;

/** What `look` says of bytes that are no part of any upstream's answer, or stand twice, or in the wrong place. */
export const garbled = 'garbled';

/**
 * Names what a client saw: who answered it, byte for byte, and how that ended; or the status, code and `Retry-After` of an
 * error.
 * @param order who was asked last comes first: some answers are the same everywhere.
 */
export function look({ status, text, complete, retryAfter }: Received, right: Right, order: readonly (keyof Right)[]): string {
  if (status === 0) return 'no answer';
  if (status !== 200) return [status, codeOf(text), retryAfter === null ? '' : `after ${retryAfter}`].filter(Boolean).join(' ');
  const said = text.replace(interruption, '');
  const from = order.find((each) => right[each].startsWith(said));
  if (from === undefined) return garbled;
  const whole = said === right[from];
  if (said !== text) return complete && !whole ? `${from}, then upstream_interrupted` : `${from}, all of it, then an error`;
  if (!complete) return `${from}, cut`;
  return whole ? from : `${from}, ended early as if whole`;
}

function codeOf(text: string): string {
  try {
    const { error, code } = JSON.parse(text) as { error?: { code?: unknown }; code?: unknown };
    return String(error?.code ?? code ?? '');
  } catch {
    return 'unreadable';
  }
}
