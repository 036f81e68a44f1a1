import { createRequire } from 'node:module';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { RawRecord } from '../record/record.ts';
import { headerOf } from '../redaction/redaction.ts';

/** Characters of a path. */
const maxPath = 2048;
/** Characters of a name that a caller or an upstream chose. */
const maxName = 512;

/** Text that needs no escapes in JSON. */
const plainJson = /^[ !#-[\]-~]*$/;

function quoted(text: string | null): string {
  if (text === null) return 'null';
  const bounded = text.length > maxPath ? text.slice(0, maxPath) : text;
  return plainJson.test(bounded) ? `"${bounded}"` : JSON.stringify(bounded);
}

const named = (text: string | null): string => quoted(text?.slice(0, maxName) ?? null);
const tenths = (ms: number | null): string => (ms === null ? 'null' : ms.toFixed(1));

/** The JSON line. One template, since a token for each field costs 2 µs more. */
function jsonLine(raw: RawRecord, path: string): string {
  return (
    `{"time":"${iso(raw.time)}","id":"${raw.id}","ip":"${raw.ip}","method":${named(raw.method)},"path":${quoted(path)}` +
    `,"status":${raw.status},"duration":${tenths(raw.duration)},"first_byte":${tenths(raw.firstByte)}` +
    `,"bytes_in":${raw.bytesIn},"bytes_out":${raw.bytesOut},"outcome":"${raw.outcome}","would_refuse":${raw.rules === null ? '[]' : JSON.stringify(raw.rules.split(','))}` +
    `,"route":${quoted(raw.route)},"model":${named(raw.model)},"stream":${raw.stream},"target":${quoted(raw.target)},"attempts":${raw.attempts}` +
    `,"usage":${usageJson(raw)},"cost":${raw.cost},"token":${quoted(raw.tokenId)},"key":${quoted(raw.key)}` +
    `,"device":${quoted(raw.device)},"user_agent":${named(headerOf(raw.headers, 'user-agent'))},"upstream_request_id":${named(raw.upstreamRequestId)}}`
  );
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

type Token = (raw: RawRecord, path: string, argument?: string) => string;

/** morgan's token names, read from the record instead of the response, and escaped for a terminal. */
const combined: Record<string, Token> = {
  'remote-addr': ({ ip }) => ip,
  'remote-user': ({ key, tokenId }) => plain(key ?? tokenId ?? '-').replaceAll(' ', '\\x20'),
  date: ({ time }) => clf(new Date(time)),
  method: ({ method }) => plain(method.slice(0, maxName)),
  url: (_raw, path) => plain(path),
  'http-version': ({ httpVersion }) => httpVersion,
  status: ({ status }) => String(status),
  res: ({ bytesOut }) => String(bytesOut),
  referrer: ({ headers }) => plain((headerOf(headers, 'referer') ?? '-').slice(0, maxPath).split(/[?#]/, 1)[0] ?? '-'),
  'user-agent': ({ headers }) => plain(headerOf(headers, 'user-agent')?.slice(0, maxName) ?? '-'),
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
function shownPath(sent: string, allowed: readonly string[]): string {
  const url = withoutAuthority(sent);
  const mark = url.indexOf('?');
  if (mark === -1) return url.slice(0, maxPath);
  const pairs = url.slice(mark + 1).split('&').map((pair) => {
    const name = pair.split('=', 1)[0] ?? '';
    return allowed.includes(name) ? pair : name;
  });
  return `${url.slice(0, mark)}?${pairs.join('&')}`.slice(0, maxPath);
}

type Compiled = (tokens: Readonly<Record<string, Token>>, raw: RawRecord, path: string) => string | undefined;

/**
 * Writes the access line of a finished request, without its end: morgan's `combined`, or a JSON object.
 * @param allowed names of query parameters whose values may be shown.
 */
export function accessLine(format: LoggingConfig['format'], allowed: readonly string[]): (raw: RawRecord) => string {
  if (format === 'json') return (raw) => jsonLine(raw, shownPath(raw.url, allowed));
  // Loaded on demand: morgan would be a third of the code this thread loads.
  const { compile, combined: template } = createRequire(import.meta.url)('morgan') as { compile(format: string): Compiled; combined: string };
  const write = compile(template);
  return (raw) => write(combined, raw, shownPath(raw.url, allowed)) ?? '';
}
