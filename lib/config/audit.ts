import { key, section } from './fields.ts';
import { choice, duration, flag, size, text } from './value-types.ts';

/** Ten years in milliseconds. No timer uses a retention age, so Node's limit of 24 days does not apply. */
const maxAge = 3650 * 86_400_000;
const age = (example: string) => duration(example, 1_000, maxAge);

/** What the journal keeps of headers and bodies. */
const capture = section('CaptureConfig', 'Headers and bodies of model routes that a record keeps. Credentials are never kept', {
  headers: key(
    choice(['safe', 'all', 'off'], undefined, (word) => (word === 'false' ? 'off' : word)),
    'safe',
    'Headers kept: safe is a fixed list, all is every header without a credential, off is none',
  ),
  body: key(size('10KB', 0), '10KB', 'Bytes of a model request body to keep, masked: the newest turn first, then everything short. 0 keeps none'),
  text: key(size('32KB', 0), '32KB', 'Bytes to keep, masked, of each long text of a request body (system prompt, tools, an earlier turn). Equal texts are kept once. 0 keeps digests alone'),
  response: key(size('10KB', 0), 0, 'Bytes of a model response body to keep, masked. 0 keeps none'),
});

/** The section `audit` without the sinks: the journal of requests. */
export const audit = {
  enabled: key(flag(), true, 'Keeps the journal. false, or audit: false, keeps no record and writes no file beside it: keys, bans and budgets last as long as the process'),
  path: key(text('a path', 'data/heimdall.db'), 'data/heimdall.db', 'SQLite file of the journal. A generated install secret is stored in the same directory'),
  retention: section('RetentionConfig', 'How long the journal keeps records and bodies', {
    records: key(age('30d'), '30d', 'Age at which a record is deleted'),
    bodies: key(age('7d'), '7d', 'Age at which the bodies are deleted from a record'),
  }),
  maxSize: key(size('10GB', 1024 ** 2), '10GB', 'Size of the database at which the oldest records are deleted'),
  durability: key(
    choice(['batched', 'strict']),
    'batched',
    'batched commits records about every 50 ms. strict commits the intent of a model request before it is forwarded, and does not start without the database',
  ),
  capture,
  fingerprint: key(
    choice(['md5', 'turn', 'off'], undefined, (word) => (word === 'false' ? 'off' : word)),
    'md5',
    'Content fingerprint of a model request. md5 is of the whole body. turn is a keyed hash of the text of the newest turn, equal when people repeat themselves. off is none',
  ),
  onFull: key(
    choice(['drop', 'refuse']),
    'drop',
    'What happens while the journal cannot be written. drop serves requests and counts lost records. refuse answers model routes with 503, and does not start without the database',
  ),
};
