import { textAnswer } from '../content/answers.ts';
import { readAsk } from '../content/ask.ts';
import type { Json } from '../content/json.ts';

const WORDS = 'The gate in front of the hall knows who is calling, lets in who belongs and remembers what matters. ';

const REQUEST: { [name: string]: Json } = {
  model: 'gpt-4o-mini',
  messages: [
    { role: 'system', content: `Answer briefly, in plain words, and say so when you do not know. ${WORDS.trim()}` },
    { role: 'user', content: WORDS.repeat(3).trim() },
  ],
  temperature: 0.7,
  max_tokens: 256,
};

/** The body of a benchmark's chat request, about 600 bytes: the stand-in knows it and does not parse it. */
export const CHAT_REQUEST: Buffer = Buffer.from(JSON.stringify(REQUEST));

/** What it is answered, about 700 bytes. */
export const CHAT_ANSWER: Buffer = Buffer.from(
  JSON.stringify(
    textAnswer(readAsk('chat', REQUEST), { id: 'known', created: 1_767_571_200, model: 'gpt-4o-mini', fingerprint: 'fp_standin' }),
  ),
);
