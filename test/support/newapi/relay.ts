import { embeddings, images, moderation, rerank, speech, textAnswer, transcription } from '../content/answers.ts';
import { readAsk, type Ask, type Mark, type Shape } from '../content/ask.ts';
import { textFrames } from '../content/frames.ts';
import { parseJson, textField, type Json } from '../content/json.ts';
import { allowModel, authorise } from './credentials.ts';
import { clientIp, hashBody, pause, readRelayBody, readRelayJson, refuse, send, sendJson } from './exchange.ts';
import { CHAT_ANSWER, CHAT_REQUEST } from './hot.ts';
import type { Exchange, Handler, Key, Route } from './state.ts';
import { stream } from './stream.ts';

const KEPT_ROWS = 1000;
const HOT_LINES = ['Content-Type', 'application/json; charset=utf-8'] as const;

/** Model routes that answer in JSON, text or bytes. */
export const relayRoutes: readonly Route[] = [
  ['POST', '/v1/chat/completions', textRoute('chat')],
  ['POST', '/v1/completions', textRoute('completions')],
  ['POST', '/v1/messages', textRoute('claude')],
  ['POST', '/v1/responses', textRoute('responses')],
  ['POST', '/v1/responses/compact', textRoute('responses')],
  ['POST', '/v1/edits', textRoute('completions')],
  ['POST', '/v1/embeddings', jsonRoute(embeddings)],
  ['POST', /^\/v1\/engines\/([^/]+)\/embeddings$/, jsonRoute(embeddings)],
  ['POST', '/v1/moderations', jsonRoute((_, mark) => moderation(mark), 'text-moderation-stable')],
  ['POST', '/v1/rerank', jsonRoute(rerank)],
  ['POST', '/v1/images/generations', jsonRoute((_, mark) => images(mark), 'dall-e-3')],
  ['POST', '/v1/images/edits', uploadRoute('gpt-image-1', (_, mark) => images(mark))],
  ['POST', '/v1/audio/transcriptions', uploadRoute('whisper-1', ({ sha256, bytes }) => transcription(sha256, bytes))],
  ['POST', '/v1/audio/translations', uploadRoute('whisper-1', ({ sha256, bytes }) => transcription(sha256, bytes))],
  ['POST', '/v1/audio/speech', speak],
];

/** A text request of a caller already known: the dashboard's playground uses it, too. */
export async function answerText(x: Exchange, key: Key, shape: Shape, path?: { model: string; stream: boolean }): Promise<void> {
  const raw = await readRelayBody(x);
  if (raw === undefined) return;
  if (shape === 'chat' && raw.length === CHAT_REQUEST.length && raw.equals(CHAT_REQUEST) && isPlain(x, key)) {
    return send(x, 200, CHAT_ANSWER, HOT_LINES);
  }
  const body = parseJson(raw.toString());
  if (body === undefined) return relayError(x, shape, 400, 'The body is not JSON', 'invalid_request');
  const ask = readAsk(shape, body, path);
  if (!allowModel(x, key, ask.model) || !hasQuota(x, key, shape)) return;
  const { delay, chunks } = x.state.settings;
  if (delay > 0) await pause(x, delay);
  const mark = stamp(x, ask.model);
  const cost = settle(x, key, ask);
  if (ask.stream) await stream(x, textFrames(ask, mark, chunks));
  else sendJson(x, 200, textAnswer(ask, mark));
  cost();
}

/** An error of the relay itself, in the shape of the route. */
export function relayError(x: Exchange, shape: Shape, status: number, text: string, code: string): void {
  const message = `${text} (request id: ${x.id})`;
  switch (shape) {
    case 'claude':
      return sendJson(x, status, { type: 'error', error: { type: 'new_api_error', message } });
    case 'gemini':
      return sendJson(x, status, { error: { code: status, message, status: code.toUpperCase() } });
    default:
      return sendJson(x, status, { error: { message, type: 'new_api_error', param: '', code } });
  }
}

/** Who answers, when. */
export function stamp(x: Exchange, model: string): Mark {
  return { id: x.id, created: Math.floor(x.state.settings.now() / 1000), model, fingerprint: 'fp_standin' };
}

/** Whether the token has anything left; a refusal has been answered. */
export function hasQuota(x: Exchange, key: Key, shape: Shape): boolean {
  if (key.quota === undefined || key.used < key.quota) return true;
  relayError(x, shape, 403, `The user's quota is used up, remaining: ${key.quota - key.used}`, 'insufficient_user_quota');
  return false;
}

function textRoute(shape: Shape): Handler {
  return async (x) => {
    const key = authorise(x);
    if (key) await answerText(x, key, shape);
  };
}

function jsonRoute(answer: (body: Json | undefined, mark: Mark) => unknown, model?: string): Handler {
  return async (x, [engine]) => {
    const key = authorise(x);
    const body = key && (await readRelayJson(x));
    if (!key || body === undefined) return;
    const asked = engine ?? textField(body, 'model') ?? model ?? '';
    if (!allowModel(x, key, asked) || !hasQuota(x, key, 'chat')) return;
    await pause(x, x.state.settings.delay);
    sendJson(x, 200, answer(body, stamp(x, asked)));
  };
}

function uploadRoute(model: string, answer: (upload: { sha256: string; bytes: number }, mark: Mark) => unknown): Handler {
  return async (x) => {
    const key = authorise(x);
    if (!key) return;
    const upload = await hashBody(x);
    const named = /name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n/.exec(upload.start.toString('latin1'))?.[1];
    const asked = named ?? model;
    if (!allowModel(x, key, asked) || !hasQuota(x, key, 'chat')) return;
    sendJson(x, 200, answer(upload, stamp(x, asked)));
  };
}

async function speak(x: Exchange): Promise<void> {
  const key = authorise(x);
  const body = key && (await readRelayJson(x));
  if (!key || body === undefined) return;
  if (!allowModel(x, key, textField(body, 'model') ?? '')) return;
  const input = textField(body, 'input');
  if (input === undefined) return refuse(x, 400, 'No input is given', 'invalid_request');
  send(x, 200, speech(input), ['Content-Type', 'audio/mpeg']);
}

/** Nothing is set that the precomputed answer would pass over. */
function isPlain(x: Exchange, key: Key): boolean {
  const { settings } = x.state;
  return (
    !settings.record && settings.delay === 0 && key.quota === undefined && key.models === undefined && key.modelLimit === undefined
  );
}

/** Takes the cost from the token now and writes the usage row when the answer is out. */
function settle(x: Exchange, key: Key, ask: Ask): () => void {
  const completion = Math.max(1, Math.ceil(ask.text.length / 4));
  key.used += ask.promptTokens + completion;
  return () => {
    const { usage, settings } = x.state;
    if (!settings.record) return;
    usage.push({
      id: (usage.at(-1)?.id ?? 0) + 1,
      user_id: key.user,
      created_at: Math.floor(settings.now() / 1000),
      type: 2,
      token_name: key.token.slice(0, 4),
      group: key.group ?? 'default',
      model_name: ask.model,
      prompt_tokens: ask.promptTokens,
      completion_tokens: completion,
      is_stream: ask.stream,
      request_id: x.id,
      ip: clientIp(x),
    });
    if (usage.length > KEPT_ROWS) usage.shift();
  };
}
