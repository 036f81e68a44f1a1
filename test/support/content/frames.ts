import { chatUsage, claudeMessage, geminiPart, geminiUsage, ioUsage, outputMessage, response } from './answers.ts';
import { split, type Ask, type Mark } from './ask.ts';
import type { Json, JsonObject } from './json.ts';

/** What ends a stream in OpenAI's shape. */
export const DONE = 'data: [DONE]\n\n';

/** Every frame of a streamed answer, the end marker included; `count` as in `split`. */
export function textFrames(ask: Ask, mark: Mark, count?: number): string[] {
  const pieces = split(ask.text, count);
  switch (ask.shape) {
    case 'chat':
    case 'completions':
      return openaiFrames(ask, mark, pieces);
    case 'claude':
      return claudeFrames(ask, mark, pieces);
    case 'responses':
      return responsesFrames(ask, mark, pieces);
    case 'gemini':
      return pieces.map((piece, i) =>
        data(geminiPart(mark, piece, i === pieces.length - 1 ? 'STOP' : null, geminiUsage(ask, pieces.join('')))),
      );
  }
}

/** An error inside a stream, as providers send it. */
export function errorFrame(shape: 'openai' | 'claude' | 'responses', message: string): string {
  switch (shape) {
    case 'openai':
      return data({ error: { message, type: 'server_error', param: null, code: 'overloaded' } });
    case 'claude':
      return named({ type: 'error', error: { type: 'overloaded_error', message } });
    case 'responses':
      return named({ type: 'error', code: 'server_error', message, param: null, sequence_number: 0 });
  }
}

function openaiFrames(ask: Ask, mark: Mark, pieces: readonly string[]): string[] {
  const chat = ask.shape === 'chat';
  const base: JsonObject = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${mark.id}`,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    created: mark.created,
    model: mark.model,
    ...(mark.fingerprint !== undefined && { system_fingerprint: mark.fingerprint }),
  };
  const chunk = (delta: JsonObject, text: string, reason: string | null): string =>
    data({ ...base, choices: [{ index: 0, ...(chat ? { delta } : { text }), finish_reason: reason }] });
  const frames = pieces.map((piece) => chunk({ content: piece }, piece, null));
  if (chat) frames.unshift(chunk({ role: 'assistant', content: '' }, '', null));
  frames.push(chunk({}, '', 'stop'));
  if (ask.usage) frames.push(data({ ...base, choices: [], usage: chatUsage(ask, pieces.join('')) }));
  frames.push(DONE);
  return frames;
}

function claudeFrames(ask: Ask, mark: Mark, pieces: readonly string[]): string[] {
  const usage = ioUsage(ask, pieces.join(''));
  const start = claudeMessage(mark, [], null, { input_tokens: ask.promptTokens, output_tokens: 1 });
  return [
    named({ type: 'message_start', message: start }),
    named({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
    named({ type: 'ping' }),
    ...pieces.map((text) => named({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
    named({ type: 'content_block_stop', index: 0 }),
    named({
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: usage['output_tokens'] ?? 0 },
    }),
    named({ type: 'message_stop' }),
  ];
}

function responsesFrames(ask: Ask, mark: Mark, pieces: readonly string[]): string[] {
  const text = pieces.join('');
  const whole = outputMessage(mark, 'completed', text);
  const part = { item_id: `msg_${mark.id}`, output_index: 0, content_index: 0 };
  const events: JsonObject[] = [
    { type: 'response.created', response: response(mark, 'in_progress', [], null) },
    { type: 'response.in_progress', response: response(mark, 'in_progress', [], null) },
    { type: 'response.output_item.added', output_index: 0, item: outputMessage(mark, 'in_progress', undefined) },
    { type: 'response.content_part.added', ...part, part: { type: 'output_text', text: '', annotations: [] } },
    ...pieces.map((delta) => ({ type: 'response.output_text.delta', ...part, delta })),
    { type: 'response.output_text.done', ...part, text },
    { type: 'response.content_part.done', ...part, part: { type: 'output_text', text, annotations: [] } },
    { type: 'response.output_item.done', output_index: 0, item: whole },
    { type: 'response.completed', response: response(mark, 'completed', [whole], ioUsage(ask, text)) },
  ];
  return events.map((event, i) => named({ ...event, sequence_number: i }));
}

function data(value: Json): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** Claude and Responses repeat the type as the event's name. */
function named(value: JsonObject): string {
  return `event: ${String(value['type'])}\n${data(value)}`;
}
