import { createHash } from 'node:crypto';

import { countTokens, type Ask, type Mark } from './ask.ts';
import { field, textField, type Json, type JsonObject } from './json.ts';

/** Usage in the words of the OpenAI chat API. */
export function chatUsage(ask: Ask, text: string): JsonObject {
  const completion = countTokens(text);
  return {
    prompt_tokens: ask.promptTokens,
    completion_tokens: completion,
    total_tokens: ask.promptTokens + completion,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
}

/** Usage in the words of the Claude and Responses APIs. */
export function ioUsage(ask: Ask, text: string): JsonObject {
  const output = countTokens(text);
  return { input_tokens: ask.promptTokens, output_tokens: output, total_tokens: ask.promptTokens + output };
}

/** Usage in the words of the Gemini API. */
export function geminiUsage(ask: Ask, text: string): JsonObject {
  const output = countTokens(text);
  return {
    promptTokenCount: ask.promptTokens,
    candidatesTokenCount: output,
    totalTokenCount: ask.promptTokens + output,
  };
}

/** The whole answer to a text request that does not stream. */
export function textAnswer(ask: Ask, mark: Mark): JsonObject {
  const { text } = ask;
  const { id, created, model } = mark;
  switch (ask.shape) {
    case 'chat':
      return {
        id: `chatcmpl-${id}`,
        object: 'chat.completion',
        created,
        model,
        ...fingerprint(mark),
        choices: [{ index: 0, message: { role: 'assistant', content: text }, logprobs: null, finish_reason: 'stop' }],
        usage: chatUsage(ask, text),
      };
    case 'completions':
      return {
        id: `cmpl-${id}`,
        object: 'text_completion',
        created,
        model,
        ...fingerprint(mark),
        choices: [{ index: 0, text, logprobs: null, finish_reason: 'stop' }],
        usage: chatUsage(ask, text),
      };
    case 'claude':
      return claudeMessage(mark, [{ type: 'text', text }], 'end_turn', ioUsage(ask, text));
    case 'responses':
      return response(mark, 'completed', [outputMessage(mark, 'completed', text)], ioUsage(ask, text));
    case 'gemini':
      return geminiPart(mark, text, 'STOP', geminiUsage(ask, text));
  }
}

/** A Claude message object. */
export function claudeMessage(mark: Mark, content: Json[], reason: string | null, usage: JsonObject): JsonObject {
  const { id, model } = mark;
  return { id: `msg_${id}`, type: 'message', role: 'assistant', model, content, stop_reason: reason, stop_sequence: null, usage };
}

/** A Responses API object. */
export function response(mark: Mark, status: string, output: Json[], usage: JsonObject | null): JsonObject {
  const { id, created, model } = mark;
  return { id: `resp_${id}`, object: 'response', created_at: created, status, model, output, error: null, usage };
}

/** The one output item of a Responses API answer. */
export function outputMessage(mark: Mark, status: string, text: string | undefined): JsonObject {
  const content: Json[] = text === undefined ? [] : [{ type: 'output_text', text, annotations: [] }];
  return { id: `msg_${mark.id}`, type: 'message', status, role: 'assistant', content };
}

/** A Gemini answer or stream part. */
export function geminiPart(mark: Mark, text: string, reason: string | null, usage: JsonObject): JsonObject {
  const content = { role: 'model', parts: [{ text }] };
  return {
    candidates: [{ index: 0, content, ...(reason !== null && { finishReason: reason }) }],
    usageMetadata: usage,
    modelVersion: mark.model,
    responseId: mark.id,
  };
}

/** Embeddings of `input`: one short vector a text, made from the text itself. */
export function embeddings(body: Json | undefined, mark: Mark): JsonObject {
  const input = field(body, 'input');
  const texts = (Array.isArray(input) ? input : [input ?? '']).map(String);
  const used = countTokens(texts.join(''));
  return {
    object: 'list',
    data: texts.map((text, index) => ({ object: 'embedding', index, embedding: vector(text) })),
    model: mark.model,
    usage: { prompt_tokens: used, total_tokens: used },
  };
}

/** Moderation verdict: nothing is ever flagged. */
export function moderation(mark: Mark): JsonObject {
  const none = { harassment: 0, violence: 0 };
  return {
    id: `modr-${mark.id}`,
    model: mark.model,
    results: [{ flagged: false, categories: { harassment: false, violence: false }, category_scores: none }],
  };
}

/** Rerank: documents in the order they came. */
export function rerank(body: Json | undefined): JsonObject {
  const documents = field(body, 'documents');
  const list = Array.isArray(documents) ? documents : [];
  const used = countTokens((textField(body, 'query') ?? '') + list.map(String).join(''));
  return {
    results: list.map((_, index) => ({ index, relevance_score: 1 / (index + 1) })),
    usage: { prompt_tokens: used, total_tokens: used },
  };
}

/** Images: the smallest PNG, as base64. */
export function images(mark: Mark): JsonObject {
  const usage = { input_tokens: 4, output_tokens: 16, total_tokens: 20 };
  return { created: mark.created, data: [{ b64_json: PNG.toString('base64') }], usage };
}

/** Transcription: the text names the SHA-256 of what arrived, so a test sees that every byte did. */
export function transcription(sha256: string, bytes: number): JsonObject {
  return { text: `sha256:${sha256}`, bytes, usage: { type: 'tokens', input_tokens: 8, output_tokens: 8, total_tokens: 16 } };
}

/** Speech: bytes that are no valid text, made from the input. */
export function speech(input: string): Buffer {
  const digest = createHash('sha256').update(input).digest();
  return Buffer.concat([Buffer.from([0xff, 0xf3, 0x84, 0xc4]), ...Array.from({ length: 128 }, () => digest)]);
}

/** Model list in OpenAI's shape. */
export function modelList(models: readonly string[], created: number, owner: string): JsonObject {
  return { object: 'list', data: models.map((id) => ({ id, object: 'model', created, owned_by: owner })) };
}

/** A one-pixel PNG. */
export const PNG: Buffer = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

function fingerprint(mark: Mark): JsonObject {
  return mark.fingerprint === undefined ? {} : { system_fingerprint: mark.fingerprint };
}

function vector(text: string): number[] {
  return Array.from(createHash('sha256').update(text).digest().subarray(0, 8), (byte) => byte / 255);
}
