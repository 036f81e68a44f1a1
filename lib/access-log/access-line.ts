import { createRequire } from 'node:module';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { RawRecord } from '../record/record.ts';
import { carriersOf, credentialsOf, headerOf, mask, maskUrl, printable, secretScrubber, type SecretScrubber, withoutCredentials } from '../redaction/redaction.ts';

/** Characters of a path. */
const maxPath = 2048;
/** Characters of a name that a caller or an upstream chose. */
const maxName = 512;

/** Text that needs no escapes in JSON. */
const plainJson = /^[ !#-[\]-~]*$/;

function quoted(text: string | null): string {
  if (text === null) return 'null';
  const bounded = text.length > maxPath ? text.slice(0, maxPath) : text;
  return plainJson.test(bounded) ? `"${bounded}"` : printable(JSON.stringify(bounded));
}

/** A name of a caller or an upstream, masked. */
const named = (text: string | null, scrub: SecretScrubber): string => (text === null ? 'null' : quoted(scrub(mask(text.slice(0, maxName)))));
const tenths = (ms: number | null): string => (ms === null ? 'null' : ms.toFixed(1));

/** The JSON line. One template, since a token for each field costs 2 µs more. */
function jsonLine(raw: RawRecord, path: string, scrub: SecretScrubber): string {
  return (
    `{"time":"${iso(raw.time)}","id":"${raw.id}","ip":"${raw.ip}","method":${named(raw.method, scrub)},"path":${quoted(path)}` +
    `,"status":${raw.status},"duration":${tenths(raw.duration)},"first_byte":${tenths(raw.firstByte)}` +
    `,"bytes_in":${raw.bytesIn},"bytes_out":${raw.bytesOut},"outcome":"${raw.outcome}","would_refuse":${raw.rules === null ? '[]' : JSON.stringify(raw.rules.split(','))}` +
    `,"route":${quoted(raw.route)},"model":${named(raw.model, scrub)},"stream":${raw.stream},"target":${quoted(raw.target)},"attempts":${raw.attempts}` +
    `,"usage":${usageJson(raw)},"cost":${raw.cost},"token":${quoted(raw.tokenId)},"key":${quoted(raw.key)}` +
    `,"device":${quoted(raw.device)},"user_agent":${named(headerOf(raw.headers, 'user-agent'), scrub)},"upstream_request_id":${named(raw.upstreamRequestId, scrub)}}`
  );
}

/** Time, status, method, path, duration, outcome, and what there is of model, target, tokens and caller. */
function readableLine(raw: RawRecord, path: string, scrub: SecretScrubber): string {
  const model = raw.model === null ? '' : ` ${plain(scrub(mask(raw.model.slice(0, maxName))))}${raw.target === null ? '' : ` at ${plain(raw.target)}`}`;
  const tokens = raw.prompt === null ? '' : ` ${raw.prompt}+${raw.completion} tokens`;
  const colour = raw.status >= 500 || raw.status === 0 ? 31 : raw.status >= 400 ? 33 : 32;
  return `${iso(raw.time).slice(11, 23)} \u001b[${colour}m${raw.status}\u001b[0m ${plain(scrub(mask(raw.method.slice(0, maxName))))} ${plain(path)} ${Math.round(raw.duration)} ms ${raw.outcome}${model}${tokens} ${plain(raw.key ?? raw.tokenId ?? '-')} ${raw.ip}`;
}

const usageJson = ({ prompt, completion, cached, reasoning, estimated }: RawRecord): string =>
  prompt === null ? 'null' : `{"prompt":${prompt},"completion":${completion},"cached":${cached},"reasoning":${reasoning},"estimated":${estimated}}`;

let second = Number.NaN;
let secondText = '';

/** ISO 8601. All but the milliseconds is formatted once a second. */
function iso(time: number): string {
  const ms = time % 1000;
  if (time - ms !== second) {
    second = time - ms;
    secondText = new Date(second).toISOString().slice(0, 20);
  }
  return `${secondText}${String(ms).padStart(3, '0')}Z`;
}

/** A record with its path and the masking of its secrets. */
interface Line {
  readonly raw: RawRecord;
  readonly path: string;
  readonly scrub: SecretScrubber;
}

type Token = (line: Line) => string;

/** morgan's token names, read from the record instead of the response, and escaped for a terminal. */
const combined: Record<string, Token> = {
  'remote-addr': ({ raw: { ip } }) => ip,
  'remote-user': ({ raw: { key, tokenId } }) => plain(key ?? tokenId ?? '-').replaceAll(' ', '\\x20'),
  date: ({ raw: { time } }) => clf(new Date(time)),
  method: ({ raw: { method }, scrub }) => plain(scrub(mask(method.slice(0, maxName)))),
  url: ({ path }) => plain(path),
  'http-version': ({ raw: { httpVersion } }) => httpVersion,
  status: ({ raw: { status } }) => String(status),
  res: ({ raw: { bytesOut } }) => String(bytesOut),
  referrer: ({ raw: { headers }, scrub }) => plain(maskUrl((headerOf(headers, 'referer') ?? '-').slice(0, maxPath).split(/[?#]/, 1)[0] ?? '-', scrub)),
  'user-agent': ({ raw: { headers }, scrub }) => plain(scrub(mask(headerOf(headers, 'user-agent')?.slice(0, maxName) ?? '-'))),
};

const plain = (text: string): string => text.replace(/[^\x20-\x7e]|["\\]/g, (found) => `\\x${(found.codePointAt(0) as number).toString(16).padStart(2, '0')}`);

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The Common Log Format's date. */
function clf(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(date.getUTCDate())}/${months[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} +0000`;
}

/** The path of a target in absolute-form, whose authority may hold a password. */
const withoutAuthority = (url: string): string => (url[0] === '/' ? url : url.replace(/^(?:[a-z][a-z\d+.-]*:\/\/)?[^/?#]*/i, ''));

/** The path with the names of its query's parameters; values only where the name is allowed. */
function shownPath(sent: string, allowed: readonly string[], scrub: SecretScrubber): string {
  const url = withoutAuthority(sent);
  const mark = url.indexOf('?');
  if (mark === -1) return maskUrl(url.slice(0, maxPath), scrub);
  const pairs = url.slice(mark + 1).split('&').map((pair) => {
    const name = pair.split('=', 1)[0] ?? '';
    return allowed.includes(name) ? pair : name;
  });
  return maskUrl(`${url.slice(0, mark)}?${pairs.join('&')}`.slice(0, maxPath), scrub);
}

type Compiled = (tokens: Readonly<Record<string, Token>>, line: Line) => string | undefined;

/**
 * Writes the access line of a finished request, without its end: morgan's `combined`, a JSON object, or a short line for a terminal.
 * SECURITY: masks configured secrets, the caller's own credentials, and everything the journal masks.
 * @param allowed names of query parameters whose values may be shown. @param hidden configured secrets.
 */
export function accessLine(format: LoggingConfig['format'] | 'readable', allowed: readonly string[], hidden: readonly string[]): (raw: RawRecord) => string {
  const scrubHidden = secretScrubber(hidden);
  const lineOf = (raw: RawRecord): Line => {
    const credentials = credentialsOf(raw.headers, carriersOf(raw.headers), raw.url.slice(raw.url.indexOf('?') + 1));
    const scrub = (text: string): string => withoutCredentials(scrubHidden(text), credentials);
    return { raw, scrub, path: shownPath(raw.url, allowed, scrub) };
  };
  if (format === 'json') {
    return (raw) => {
      const { path, scrub } = lineOf(raw);
      return jsonLine(raw, path, scrub);
    };
  }
  if (format === 'readable') {
    return (raw) => {
      const { path, scrub } = lineOf(raw);
      return readableLine(raw, path, scrub);
    };
  }
  // Loaded on demand: morgan would be a third of the code this thread loads.
  const { compile, combined: template } = createRequire(import.meta.url)('morgan') as { compile(format: string): Compiled; combined: string };
  const write = compile(template);
  return (raw) => write(combined, lineOf(raw)) ?? '';
}
