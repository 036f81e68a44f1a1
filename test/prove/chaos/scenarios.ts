import type { Cut, Fault } from '../../support/provider.ts';
import type { Questions } from './question.ts';
import { newapi, newapiAlone, ours, oursAlone, type Setting, type Trouble } from './rules.ts';
import type { Case, Scenario } from './trial.ts';
import { wireOf, type Manner } from './wire.ts';

const beside: readonly Setting[] = [newapi, ours];
const both: readonly Setting[] = [...beside, newapiAlone, oursAlone];
const all = [...beside.map((setting): Setting => ({ ...setting, timeout: true })), ...both];

const cuts: readonly Cut[] = ['fin', 'rst'];
const signature = { 'X-Oneapi-Request-Id': '20260105000000000000000abcdefgh' };

/** Whole numbers from `from` up to `to`, which is left out. */
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

type More = Partial<Omit<Case, 'name' | 'faults' | 'trouble'>>;

const one = (name: string, fault: Fault, trouble: Trouble, more: More = {}): Case => ({ name, faults: fault.kind === 'refuse' ? fault : [fault], trouble, ...more });

/** Both ways to cut, at every byte. */
const kills = (bytes: readonly number[], trouble: (byte: number) => Trouble, more: More = {}, manner: Manner = {}): Case[] =>
  cuts.flatMap((by) => bytes.map((byte) => one(`${by} at byte ${byte}`, { kind: 'kill_at', byte, by, ...manner }, trouble(byte), more)));

const status = (code: number, headers: Readonly<Record<string, string>> = {}, body?: object): Fault => ({ kind: 'status', status: code, headers, ...(body && { body }) });
const refusal = (code: string): object => ({ error: { message: 'No.', type: 'new_api_error', code } });

/** A stream commits with its first event; what its chunk ends with says nothing more. */
async function beforeFirstEvent(): Promise<readonly Case[]> {
  const { ends } = await wireOf('stream');
  return kills(range(0, (ends[0] as number) - 2), () => 'unclear');
}

/** Behind the last event there is nothing left to lose. */
async function afterEvents(question: Questions): Promise<readonly Case[]> {
  const { ends, said } = await wireOf(question);
  const places = ends.flatMap((end) => [end - 3, end - 2, end, end + 10]).filter((byte) => byte >= (ends[0] as number) - 2 && byte <= said + 2);
  return kills(places, (byte) => (byte < said ? 'interrupted' : 'none'), { question }).map((each, n) => ({ ...each, events: ends.filter((end) => end - 2 <= (places[n % places.length] as number)).length }));
}

async function document(manner: Manner): Promise<readonly Case[]> {
  const { head, length } = await wireOf('chat', manner);
  const told = manner.status === undefined ? '502 upstream_invalid' : `${manner.status} upstream_error`;
  return kills(range(0, length), (byte) => (byte < head ? 'unclear' : 'server_error'), { question: 'chat', told }, manner);
}

async function truncated(): Promise<readonly Case[]> {
  const { head, length } = await wireOf('chat');
  return range(0, length - head).map((bytes) => one(`${bytes} bytes`, { kind: 'truncated', of: 'json', bytes }, 'server_error', { question: 'chat', told: '502 upstream_invalid' }));
}

async function reusedSocket(): Promise<readonly Case[]> {
  const { head } = await wireOf('stream');
  const before = cuts.flatMap((by) => (['stream', 'chat', 'speech', 'models'] as const).map((question) => one(`${by} of ${question}`, { kind: 'reset', at: 'before', by }, 'stale', { question, reused: true })));
  return [...before, ...kills(range(0, head), (byte) => (byte === 0 ? 'stale' : 'unclear'), { reused: true })];
}

/** In the three forms of RFC 9110 §10.2.3 and OpenAI's own, and in none. */
function retryAfter(...codes: readonly number[]): readonly (() => Case)[] {
  return codes.flatMap((code) => [
    () => rest(code, 'retry-after-ms', '150', 150),
    () => rest(code, 'Retry-After', '1', 1000),
    // To the second.
    () => rest(code, 'Retry-After', new Date(Date.now() + 3000).toUTCString(), 1000),
    () => rest(code, 'Retry-After', '7'),
    () => rest(code, 'Retry-After', new Date(Date.now() + 9000).toUTCString()),
    () => rest(code, 'retry-after-ms', '6000'),
    ...(code === 503 ? [] : [() => one(`${code} with nothing`, status(code), code === 529 ? 'overloaded' : 'rest', { told: String(code), waits: 1000 })]),
  ]);
}

/** @param waits milliseconds; more than five seconds nobody waits for. */
function rest(code: number, header: string, value: string, waits?: number): Case {
  return one(`${code} with ${header}: ${value}`, status(code, { [header]: value }), waits === undefined ? 'long_rest' : code === 529 ? 'overloaded' : 'rest', { told: `${code} after ${value}`, ...(waits !== undefined && { waits }) });
}

const wrongLength = (): readonly Case[] => [
  ...[1, 10, 1000, -1, -2, -3, -10, -100].map((by) => one(`a document's by ${by}`, { kind: 'short_length', by }, 'server_error', { question: 'chat', told: '502 upstream_invalid' })),
  ...[1, 10, 1000].map((by) => one(`a stream's by ${by}`, { kind: 'short_length', by }, 'none')),
  // The last event has 14 bytes.
  ...[-3, -10, -13, -20].map((by) => one(`a stream's by ${by}`, { kind: 'short_length', by }, 'interrupted')),
  one('bytes by 10', { kind: 'short_length' }, 'broken', { question: 'speech' }),
];

// An overload pauses the target, so it comes last; that of Claude is in test/field/judgement.test.ts.
const errorEvents = (): readonly Case[] => [
  one('in the shape of responses', { kind: 'error_event', shape: 'responses' }, 'server_error', { told: '502 server_error' }),
  one('in OpenAI\'s shape', { kind: 'error_event', shape: 'openai' }, 'overloaded', { told: '503 overloaded' }),
];

const emptyStreams = (): readonly Case[] => [
  one('nothing', { kind: 'empty_stream' }, 'server_error', { told: '502 upstream_invalid' }),
  one('comments', { kind: 'comments_only', count: 3 }, 'server_error', { told: '502 upstream_invalid' }),
];

const unusual = (): readonly Case[] => [false, true].flatMap((reused) => [
  one('103 first', { kind: 'early_hints' }, 'none', { reused }),
  one('103 first, a document', { kind: 'early_hints' }, 'none', { reused, question: 'chat' }),
  one('HTTP/1.0', { kind: 'http10' }, 'none', { reused }),
  one('a large head', { kind: 'big_head', bytes: 12_000 }, 'none', { reused }),
]);

const notHttp = (): readonly Case[] => [
  ...[false, true].map((reused) => one('another protocol', { kind: 'not_http' }, 'not_http', { reused })),
  one('a head without end', { kind: 'big_head', bytes: 200_000 }, 'not_http'),
];

const errorStatuses = (): readonly Case[] => [500, 502, 503, 504].flatMap((code) => (['stream', 'chat'] as const).map((question) => one(String(code), status(code), 'server_error', { told: String(code), question })));

const clientErrors = (): readonly Case[] => [
  ...[400, 404, 413, 422].map((code) => one(String(code), status(code), 'verdict', { told: String(code) })),
  one('307', { kind: 'redirect', location: 'http://127.0.0.1:1/' }, 'verdict', { told: '307' }),
];

const refusedKeys = (): readonly Case[] => [401, 403].map((code) => one(String(code), status(code), 'refused_key', { told: String(code) }));

const signed = (): readonly Case[] => [
  one('429', status(429, signature), 'verdict', { told: '429' }),
  one('429 with a time', status(429, { ...signature, 'Retry-After': '3' }), 'verdict', { told: '429 after 3' }),
  ...(['model_not_found', 'sensitive_words_detected', 'insufficient_user_quota'] as const).map((code) => one(code, status(503, signature, refusal(code)), 'verdict', { told: `503 ${code}` })),
  ...[400, 401, 403].map((code) => one(String(code), status(code, signature), 'verdict', { told: String(code) })),
  ...[500, 502, 503].map((code) => one(`${code} of a channel`, status(code, signature), 'server_error', { told: String(code) })),
];

const stalls = (): readonly Case[] => [
  one('before the head', { kind: 'hang', at: 'headers' }, 'unclear'),
  one('before the head, reused', { kind: 'hang', at: 'headers' }, 'unclear', { reused: true }),
  one('before the first event', { kind: 'hang', at: 'first_event' }, 'unclear'),
  one('in the middle', { kind: 'hang', at: 'middle' }, 'interrupted'),
  one('after [DONE]', { kind: 'hang', at: 'after_done' }, 'none'),
  ...(['headers', 'first_event', 'middle', 'after_done'] as const).map((at) => one(`a document, ${at}`, { kind: 'hang', at }, 'unclear', { question: 'chat' })),
];

const mediaFaults: readonly (readonly [Fault, Trouble, string?])[] = [
  [status(500), 'server_error', '500'],
  [status(503, { 'Retry-After': '1' }), 'rest', '503 after 1'],
  [status(429), 'rest', '429'],
  [{ kind: 'not_http' }, 'not_http'],
  [{ kind: 'reset', at: 'before', by: 'rst' }, 'unclear'],
  [{ kind: 'reset', at: 'before', by: 'fin' }, 'unclear'],
  [{ kind: 'hang', at: 'headers' }, 'unclear'],
  [{ kind: 'refuse' }, 'refused'],
];

const media = (): readonly Case[] => [
  ...(['speech', 'image'] as const).flatMap((question) => mediaFaults.map(([fault, trouble, told = '']) => one(`${fault.kind} of ${question}`, fault, trouble, { question, told }))),
  ...cuts.map((by) => one(`a reused socket, ${by}`, { kind: 'reset', at: 'before', by }, 'stale', { question: 'speech', reused: true })),
  one('half a document', { kind: 'truncated', of: 'json' }, 'server_error', { question: 'image', told: '502 upstream_invalid' }),
  one('half the bytes', { kind: 'reset', at: 'headers', after: 2000, by: 'rst' }, 'broken', { question: 'speech' }),
];

const free = (): readonly Case[] => [
  ...cuts.map((by) => one(`by ${by}`, { kind: 'reset', at: 'before', by }, 'unclear', { question: 'models' })),
  one('silent', { kind: 'hang', at: 'headers' }, 'unclear', { question: 'models' }),
  one('silent within', { kind: 'hang', at: 'middle' }, 'unclear', { question: 'models' }),
  one('500', status(500), 'server_error', { question: 'models', told: '500' }),
];

const strangers = (): readonly Case[] => [
  ...errorStatuses(), ...clientErrors(), ...errorEvents().slice(0, 1), ...emptyStreams(), ...unusual(), ...notHttp(),
  one('refuses', { kind: 'refuse' }, 'refused'),
  one('resets', { kind: 'reset', at: 'before', by: 'rst' }, 'unclear'),
  one('hangs', { kind: 'hang', at: 'headers' }, 'unclear'),
  one('hangs within', { kind: 'hang', at: 'middle' }, 'interrupted'),
];

/** Everything one request's upstream can do. */
export const scenarios: readonly Scenario[] = [
  { name: 'an upstream refuses connections', settings: both, cases: () => [one('refused', { kind: 'refuse' }, 'refused'), one('refused, reused', { kind: 'refuse' }, 'refused', { reused: true })] },
  { name: 'a stream dies at every byte before its first event', settings: all, cases: beforeFirstEvent },
  { name: 'a stream dies at and within every event after', settings: beside, cases: () => afterEvents('stream') },
  { name: 'a stream in Claude\'s dialect dies so', settings: beside, provider: 'anthropic', cases: () => afterEvents('claude') },
  { name: 'a stream in the dialect of responses dies so', settings: beside, cases: () => afterEvents('responses') },
  { name: 'a document dies at every byte', settings: both, cases: () => document({}) },
  { name: 'a document in chunks dies at every byte', settings: both, cases: () => document({ chunked: true }) },
  { name: 'a compressed document dies at every byte', settings: both, cases: () => document({ encoding: 'gzip' }) },
  { name: 'an error dies at every byte', settings: both, cases: () => document({ status: 500 }) },
  { name: 'a document cut at every length, ended as if whole', settings: both, cases: truncated },
  { name: 'a reused socket ends, at every byte of the head', settings: all, cases: reusedSocket },
  { name: 'an answer stalls', settings: all, cases: stalls },
  { name: 'an answer is 500, 502, 503, 504', settings: both, cases: errorStatuses },
  { name: 'an answer is 429, 503, in each form of Retry-After', settings: both, waits: true, cases: () => retryAfter(429, 503) },
  { name: 'an answer is 529, in each form of Retry-After', settings: both, waits: true, apart: true, cases: () => retryAfter(529) },
  { name: 'a stream begins with an error', settings: both, waits: true, cases: errorEvents },
  { name: 'a stream has no event', settings: both, cases: emptyStreams },
  { name: 'an answer has a wrong content-length', settings: both, cases: wrongLength },
  { name: 'an answer has a 103 first, is HTTP/1.0, has a large head', settings: both, cases: unusual },
  { name: 'an answer is not HTTP', settings: both, cases: notHttp },
  { name: 'an answer is 401, 403', settings: both, cases: refusedKeys },
  { name: 'an answer is another 4xx, a redirect', settings: both, cases: clientErrors },
  { name: 'an answer is signed by NewAPI', settings: [newapi, newapiAlone], cases: signed },
  { name: 'images and audio fail', settings: all, cases: media },
  { name: 'a route that costs nothing fails', settings: both, cases: free },
  { name: 'any of it meets a caller whom nobody knows', settings: [newapi], strangers: true, cases: strangers },
];
