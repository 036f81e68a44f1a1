/** The bytes both ends of the benchmark agree on. */

/** Gateway keys of eight callers: one caller alone would make every per-key table a single entry. */
export const CALLER_KEYS: readonly string[] = Array.from({ length: 8 }, (_, index) => `sk-${`bench${index}`.padEnd(48, 'Kq7')}`);

/** One server-sent event of a streamed answer; all have the same length so that bytes tell the count. */
export const EVENT = Buffer.from(
  `data: ${JSON.stringify({
    id: 'chatcmpl-bench-0001',
    object: 'chat.completion.chunk',
    created: 1_790_000_000,
    model: 'gpt-4o-mini',
    choices: [{ index: 0, delta: { content: ' benchmark' }, finish_reason: null }],
  })}\n\n`,
);

/** The end of every streamed answer. */
export const DONE = Buffer.from('data: [DONE]\n\n');

/** The whole non-streaming answer, about 700 bytes. */
export const CHAT_ANSWER = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-bench-0001',
    object: 'chat.completion',
    created: 1_790_000_000,
    model: 'gpt-4o-mini',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'A gateway adds little when it copies bytes and decides early. '.repeat(6) },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 98, completion_tokens: 84, total_tokens: 182 },
  }),
);

/** How a streamed answer is paced: `chunks` events, `every` milliseconds apart (0: one each turn of the loop). */
export interface Pace {
  readonly chunks: number;
  readonly every: number;
}

/** A 600-byte chat request; a pace rides in `user` and makes it a stream. */
export function chatBody(pace?: Pace): Buffer {
  const fields = {
    model: 'gpt-4o-mini',
    ...(pace === undefined ? {} : { stream: true, user: `pace:${pace.chunks}:${pace.every}` }),
    temperature: 0.2,
    messages: [
      { role: 'system', content: 'You are a careful assistant who answers in one short paragraph.' },
      { role: 'user', content: '' },
    ],
  };
  const filler = 'Which part of a request costs a proxy the most, and why? '.repeat(10);
  const room = 600 - JSON.stringify(fields).length;
  (fields.messages[1] as { content: string }).content = filler.slice(0, room);
  return Buffer.from(JSON.stringify(fields));
}

/** Bytes of a body in which its pace stands. */
const paceWithin = 1024;

/** The pace a request body asks for; undefined for a plain answer. */
export function paceOf(body: Buffer): Pace | undefined {
  const at = body.subarray(0, paceWithin).indexOf('"pace:');
  if (at === -1) return undefined;
  const [chunks = 0, every = 0] = body.toString('latin1', at + 6, body.indexOf('"', at + 6)).split(':').map(Number);
  return { chunks, every };
}

/** A request as the `openai` package sends it, ready for the socket. */
export function requestBytes(port: number, key: string, body: Buffer, extra: Record<string, string> = {}): Buffer {
  const head = [
    'POST /v1/chat/completions HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Connection: keep-alive',
    'Accept: application/json',
    'Content-Type: application/json',
    'User-Agent: OpenAI/JS 7.57.0',
    'X-Stainless-Retry-Count: 0',
    'X-Stainless-Timeout: 600',
    'X-Stainless-Lang: js',
    'X-Stainless-Package-Version: 7.57.0',
    'X-Stainless-OS: Linux',
    'X-Stainless-Arch: x64',
    'X-Stainless-Runtime: node',
    'X-Stainless-Runtime-Version: v24.21.0',
    ...(extra['authorization'] === undefined ? [`Authorization: Bearer ${key}`] : []),
    'Accept-Language: *',
    'Sec-Fetch-Mode: cors',
    // Not gzip: no contestant may pay for a compression the others do not do.
    'Accept-Encoding: identity',
    ...Object.entries(extra).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}
