import { createHash } from 'node:crypto';

import { embeddings, images, modelList, moderation, rerank, speech, textAnswer, transcription } from '../content/answers.ts';
import { readAsk, type Mark, type Shape } from '../content/ask.ts';
import { textFrames } from '../content/frames.ts';
import { parseJson, textField, type Json } from '../content/json.ts';

/** What a provider is asked, as far as the answer depends on it. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** How a provider answers. */
export interface Manner {
  readonly name: string;
  readonly models: readonly string[];
  /** Content events of a stream; undefined: one a word. */
  readonly events: number | undefined;
  readonly key: string | undefined;
  readonly now: () => number;
}

/** An answer before it is framed: a stream's events, or one document. */
export interface Reply {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: { readonly kind: 'events'; readonly frames: readonly string[] } | { readonly kind: 'bytes'; readonly bytes: Buffer };
}

const TEXT: readonly (readonly [suffix: string, shape: Shape])[] = [
  ['/chat/completions', 'chat'],
  ['/completions', 'completions'],
  ['/messages', 'claude'],
  ['/responses', 'responses'],
];

/** The right answer; it names the provider in `model` (`name/requested`) and `system_fingerprint`. */
export function reply(asked: Asked, manner: Manner): Reply {
  const wanted = manner.key;
  const given = asked.headers['authorization'] ?? `Bearer ${asked.headers['x-api-key'] ?? ''}`;
  if (wanted !== undefined && given !== `Bearer ${wanted}`) {
    return failure(401, 'Incorrect API key provided.', 'invalid_request_error', 'invalid_api_key');
  }
  const path = asked.path.split('?', 1)[0] ?? '';
  if (asked.method === 'GET') return get(path, manner);
  const body = parseJson(asked.body.toString());
  const shape = TEXT.find(([suffix]) => path.endsWith(suffix))?.[1];
  return shape ? text(shape, body, manner) : other(path, asked, body, manner);
}

/** An error in OpenAI's shape. */
export function failure(status: number, message: string, type = 'server_error', code: string | null = null): Reply {
  return json({ error: { message, type, param: null, code } }, status);
}

/** A JSON document. */
export function json(value: Json, status = 200): Reply {
  return bytes(Buffer.from(JSON.stringify(value)), 'application/json', status);
}

/** An event stream. */
export function events(frames: readonly string[]): Reply {
  const headers = [
    ['Content-Type', 'text/event-stream; charset=utf-8'],
    ['Cache-Control', 'no-cache'],
  ] as const;
  return { status: 200, headers, body: { kind: 'events', frames } };
}

function bytes(content: Buffer, type: string, status = 200): Reply {
  return { status, headers: [['Content-Type', type]], body: { kind: 'bytes', bytes: content } };
}

function text(shape: Shape, body: Json | undefined, manner: Manner): Reply {
  if (body === undefined) return failure(400, 'We could not parse the JSON body of your request.', 'invalid_request_error');
  const ask = readAsk(shape, body);
  const mark = stamp(manner, ask.model);
  return ask.stream ? events(textFrames(ask, mark, manner.events)) : json(textAnswer(ask, mark));
}

function get(path: string, manner: Manner): Reply {
  const created = Math.floor(manner.now() / 1000);
  if (path.endsWith('/models')) return json(modelList(manner.models, created, manner.name));
  const model = /\/models\/(.+)$/.exec(path)?.[1];
  if (model !== undefined && manner.models.includes(model)) {
    return json({ id: model, object: 'model', created, owned_by: manner.name });
  }
  return failure(404, 'Not found.', 'invalid_request_error');
}

function other(path: string, asked: Asked, body: Json | undefined, manner: Manner): Reply {
  const mark = stamp(manner, textField(body, 'model') ?? '');
  if (path.endsWith('/embeddings')) return json(embeddings(body, mark));
  if (path.endsWith('/moderations')) return json(moderation(mark));
  if (path.endsWith('/rerank')) return json(rerank(body));
  if (path.includes('/images/')) return json(images(mark));
  if (path.endsWith('/audio/speech')) return bytes(speech(textField(body, 'input') ?? ''), 'audio/mpeg');
  if (path.includes('/audio/')) {
    return json(transcription(createHash('sha256').update(asked.body).digest('hex'), asked.body.length));
  }
  return failure(404, 'Unknown request URL.', 'invalid_request_error', 'unknown_url');
}

function stamp(manner: Manner, model: string): Mark {
  const created = Math.floor(manner.now() / 1000);
  return { id: `${manner.name}-${created}`, created, model: `${manner.name}/${model}`, fingerprint: manner.name };
}
