import { rawRequest } from '../../support/client.ts';
import { startProvider, type Fault } from '../../support/provider.ts';
import { anyModel, questions, type Question, type Questions } from './question.ts';
import { now, textEvents } from './world.ts';

/** Where the parts of the first target's answer lie, in bytes from its beginning, the head counted. */
export interface Wire {
  /** The length of the head. */
  readonly head: number;
  /** Where the chunk of each event ends, its line break counted. */
  readonly ends: readonly number[];
  /** Where the last event is complete. */
  readonly said: number;
  readonly length: number;
}

/** How an answer is cut, but for where and by what. */
export type Manner = Omit<Extract<Fault, { kind: 'kill_at' }>, 'kind' | 'byte' | 'by'>;

const measured = new Map<string, Promise<Wire>>();

/** What a stand-in sends in answer to a question, measured once. */
export function wireOf(question: Questions, manner: Manner = {}): Promise<Wire> {
  const key = JSON.stringify([question, manner]);
  const known = measured.get(key) ?? measure(questions[question], manner);
  measured.set(key, known);
  return known;
}

async function measure({ path, body }: Question, manner: Manner): Promise<Wire> {
  const provider = await startProvider({ name: 'primary', events: textEvents, now });
  await provider.script([{ kind: 'kill_at', byte: Number.MAX_SAFE_INTEGER, by: 'fin', ...manner }]);
  const text = JSON.stringify({ model: anyModel, ...body });
  const bytes = await rawRequest(provider.port, `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
  await provider.close();
  const head = bytes.indexOf('\r\n\r\n') + 4;
  const ends = /transfer-encoding: chunked/i.test(bytes.toString('latin1', 0, head)) ? chunkEnds(bytes, head) : [];
  return { head, ends, said: (ends.at(-1) ?? 0) - 2, length: bytes.length };
}

/** The last, empty chunk left out. */
function chunkEnds(bytes: Buffer, from: number): number[] {
  const ends: number[] = [];
  for (let at = from; ; ) {
    const line = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (size === 0) return ends;
    at = line + 2 + size + 2;
    ends.push(at);
  }
}
