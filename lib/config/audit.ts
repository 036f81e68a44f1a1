import { key, section } from './fields.ts';
import { choice, duration, size, text } from './value-types.ts';

/** Ten years: no timer waits for it. */
const longest = 3650 * 86_400_000;
const age = (example: string) => duration(example, 1_000, longest);

/** What is kept of a request beside its facts. */
const capture = section('CaptureConfig', 'What of headers and of model routes\' bodies is kept; credentials never are', {
  headers: key(
    choice(['safe', 'all', 'off'], undefined, (word) => (word === 'false' ? 'off' : word)),
    'safe',
    'safe keeps a fixed list of headers, all every one that carries no credential, off none',
  ),
  body: key(size('10KB', 0), '10KB', "Bytes kept of a model route's request, masked; 0 keeps none"),
  response: key(size('10KB', 0), 0, "Bytes kept of a model route's answer, masked; 0 keeps none"),
});

/** The journal of requests. */
export const audit = {
  path: key(text('a path', 'data/heimdall.db'), 'data/heimdall.db', 'Database file; the generated install secret lies beside it'),
  retention: section('RetentionConfig', 'How long the journal keeps what', {
    records: key(age('30d'), '30d', 'Age at which records are removed'),
    bodies: key(age('7d'), '7d', 'Age at which bodies of requests and answers are removed from their records'),
  }),
  maxSize: key(size('10GB', 1024 ** 2), '10GB', 'Size of the database at which the oldest records are removed'),
  durability: key(
    choice(['batched', 'strict']),
    'batched',
    'batched writes some fifty milliseconds of records at a time; strict commits the intent of a model request before it is forwarded, and does not start without the database',
  ),
  capture,
  onFull: key(
    choice(['drop', 'refuse']),
    'drop',
    'While nothing can be written: drop serves on and counts what is lost, refuse answers model routes with 503 and does not start without the database',
  ),
};
