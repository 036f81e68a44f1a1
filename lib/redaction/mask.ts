import { hint, hintsOf } from './secret-hints.ts';

/** Replaces a secret. */
export const masked = '[masked]';

/** A prefix that no letter or digit precedes, unless it belongs to an escape such as `\n`. */
const at = (prefix: string): string => String.raw`(?:${prefix})(?<=(?:^|[^A-Za-z0-9]|\\[nrtbf])(?:${prefix}))`;

/**
 * Credentials by their prefixes. SECURITY: every pattern here takes linear time: no two neighbouring parts of one can match the
 * same text in more than one way.
 */
const shapes = [
  `${at('sk-')}[\\w-]{8,}`,
  // NewAPI's, also behind a word, as in `bot<token>`: so long a run is no ordinary one.
  'sk-[A-Za-z0-9]{40,}',
  `${at('[srp]k_|whsec_')}\\w{12,}`,
  `${at('eyJ')}[\\w-]{10,}(?:\\.[\\w-]*){0,4}`,
  `${at('A(?:KIA|SIA|ROA|IDA|BIA|CCA)')}[0-9A-Z]{12,}`,
  `${at('AIza')}[\\w-]{20,}`,
  `${at('gh[pousr]_|github_pat_|glpat-|gldt-|hf_|gsk_|npm_|pplx-|r8_|tvly-|dop_v1_|shpat_|lin_api_|figd_|dapi')}[\\w-]{16,}`,
  `${at('xai-|pypi-|hvs\\.|nvapi-|tgp_v1_|sntrys_|dckr_pat_|xox[abeoprs]-|xapp-|fw_')}[\\w.-]{10,}`,
  `${at('SG\\.')}[\\w-]{10,}\\.[\\w-]{10,}`,
  `${at('ya29\\.')}[\\w-]{10,}`,
].map((source) => new RegExp(source, 'g'));
/** Any prefix of {@link shapes}. */
const beginning = /sk[-_]|[rp]k_|whsec_|eyJ|A(?:KIA|SIA|ROA|IDA|BIA|CCA|Iza)|gh[pousr]_|github_pat_|gl(?:pat|dt)-|hf_|gsk_|npm_|pplx-|r8_|tvly-|dop_v1_|shpat_|lin_api_|figd_|dapi|xai-|pypi-|hvs\.|nvapi-|tgp_v1_|sntrys_|dckr_pat_|xox|xapp-|fw_|SG\.|ya29\./;

/** Characters from which a run counts as base64 data. Of data only the length is kept. */
const base64 = 200;

/** `Bearer …` and `Basic …` anywhere in a text. */
const scheme = /((?:[Bb]earer|BEARER|[Bb]asic|BASIC)[ \t]{1,4})([\w\-./+=~]{8,})/g;

/** User and password in a URL, each form with what stands in every URL of it: as it is, in JSON inside a JSON string, and encoded. */
const userinfo = [
  ['://', /(:\/\/)[^\s/@:"'\\<>]{0,128}:[^\s/@"'\\<>]{1,256}(@)/g],
  ['\\/', /(:\\{1,7}\/\\{1,7}\/)[^\s/@:"'\\<>]{0,128}:[^\s/@"'\\<>]{1,256}(@)/g],
  ['%2F', /(%3A%2F%2F)[^\s/@:"'\\<>&]{0,128}?%3A[^\s/@"'\\<>&]{1,256}?(%40)/gi],
  ['%2f', /(%3a%2f%2f)[^\s/@:"'\\<>&]{0,128}?%3a[^\s/@"'\\<>&]{1,256}?(%40)/gi],
] as const;

/** `password: x`, `API_KEY=x`, `密码：x` in prose. The pattern begins with the separator, which is rarer than the letters. */
const assignment = /([:=：](?<=(?:pass(?:word|wd|phrase)|pwd|secret|key|token|密码|口令|密钥)[ \t]{0,4}[:=：])|[是为](?<=(?:密码|口令|密钥)[是为]))([ \t]{0,4})([^\s"'\\,;{}[\]()]{3,256})/gi;

/** A member of a JSON object whose value is a string or a number, also of JSON inside a JSON string. */
const member = /"([\w.\- ]{1,64})(\\{0,15})"\s{0,16}:\s{0,16}(?:\\{0,15}"|(-?[\w.]{1,64}))/g;
const secretName = /pass(?:word|wd|phrase|code)|^pass$|^pwd$|_pwd$|secret|(?:api|access|private|auth|signing|encryption|account|master)[_.\- ]?key|^key$|token$|authorization|credential|cookie|session_?id/i;

const pem = '-----BEGIN ';

/**
 * Masks credentials in a text, in time linear to its length: keys by their form (OpenAI's and many other vendors', AWS, JWTs),
 * `Bearer …`, private keys, passwords in URLs, and values beside a name such as `password`.
 * @param hints bits of {@link hint}: patterns without a hint are skipped.
 */
export function mask(text: string, hints: number = hintsOf(text)): string {
  if (hints === 0) return text;
  let out = text;
  // A replaced secret may now be next to the name of another.
  const may = (of: number): boolean => (hints & (of | hint.hidden)) !== 0 || out !== text;
  if (may(hint.pem) && text.includes(pem)) out = withoutPem(text);
  if (may(hint.name)) out = withoutMembers(out);
  if (may(hint.shape) && beginning.test(out)) for (const shape of shapes) out = out.replace(shape, masked);
  if (may(hint.name)) out = out.replace(assignment, (whole: string, by: string, space: string, value: string) => (value.startsWith('[masked') ? whole : `${by}${space}${masked}`));
  if (may(hint.scheme)) out = withoutSchemes(out);
  return may(hint.url) ? withoutUserinfo(out) : out;
}

/**
 * Masks credentials by their form alone: keys, `Bearer …`, private keys and passwords in URLs. For texts of the gate itself, in
 * which a name such as `secret:` is followed by an explanation.
 */
export function maskCredentials(text: string): string {
  const hints = hintsOf(text);
  if ((hints & (hint.shape | hint.scheme | hint.url | hint.pem)) === 0) return text;
  let out = text.includes(pem) ? withoutPem(text) : text;
  if (beginning.test(out)) for (const shape of shapes) out = out.replace(shape, masked);
  return withoutUserinfo(withoutSchemes(out));
}

const withoutSchemes = (text: string): string => text.replace(scheme, (whole: string, name: string, value: string) => (/[A-Z0-9._+=~]/.test(value) || value.length > 24 ? name + masked : whole));
const withoutUserinfo = (text: string): string => userinfo.reduce((out, [mark, pattern]) => (out.includes(mark) ? out.replace(pattern, `$1${masked}$2`) : out), text);

/** Times a text may be percent-encoded that is looked into. */
const maxEncodings = 3;

/**
 * Masks credentials in a path, a query or a URL, also percent-encoded ones.
 * @param more masks further secrets.
 */
export function maskUrl(text: string, more: (text: string) => string = (same) => same): string {
  const plain = more(mask(text));
  let decoded = text;
  for (let times = 0; times < maxEncodings && decoded.includes('%'); times++) {
    const next = percentDecoded(decoded);
    if (next === decoded) break;
    decoded = next;
    const shown = more(mask(decoded));
    if (shown !== decoded) return shown;
  }
  return plain;
}

/** Decodes a text until nothing is encoded any more, at most three times. */
export function decodedFully(text: string): string {
  let decoded = text;
  for (let times = 0; times < maxEncodings && decoded.includes('%'); times++) decoded = percentDecoded(decoded);
  return decoded;
}

/** Decodes what can be decoded. A byte that is no UTF-8 becomes U+FFFD. */
const percentDecoded = (text: string): string => text.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'));

/** Replaces base64 data, such as pictures, by its length. */
export function withoutData(text: string): string {
  if (!hasLongRun(text)) return text;
  let out = '';
  let from = 0;
  // A run of this length cannot lie between two inspected positions.
  for (let at = 0; at < text.length; at += base64) {
    if (!isData(text.charCodeAt(at))) continue;
    let start = at;
    while (start > from && isData(text.charCodeAt(start - 1))) start--;
    let end = at + 1;
    while (isData(text.charCodeAt(end))) end++;
    if (end - start >= base64) {
      for (let padding = 0; padding < 2 && text[end] === '='; padding++) end++;
      out += `${text.slice(from, start)}[${end - start} characters of base64]`;
      from = end;
    }
    at = Math.max(at, end - base64);
  }
  return from === 0 ? text : out + text.slice(from);
}

const step = 64;
const sample = 12;

/** Whether there may be a run of 200 characters of data. Samples the text, since such runs are rare. */
function hasLongRun(text: string): boolean {
  let dense = 0;
  for (let from = 0; from + sample < text.length; from += step) {
    let of = from;
    while (of < from + sample && isData(text.charCodeAt(of))) of++;
    dense = of === from + sample ? dense + 1 : 0;
    if (dense === 3) return true;
  }
  return false;
}

/** Letters, digits, `+`, `-`, `/` and `_`. */
const isData = (code: number): boolean => (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 47 && code <= 57) || code === 43 || code === 45 || code === 95;

/** `\u…` and `\/` behind an even number of backslashes. */
const escapes = /(?<!\\)((?:\\\\)*)\\(?:u([0-9a-fA-F]{4})|\/)/g;

/** JSON text in its shortest form, except for controls, so that no secret hides in escapes: some clients write `\/` and `\u0022`. */
export function readable(json: string): string {
  const plain = json.replace(escapes, (whole, before: string, hex: string | undefined) => {
    if (hex === undefined) return `${before}/`;
    const code = Number.parseInt(hex, 16);
    if (code < 0x20 || code === 0x7f) return whole;
    return `${before}${code === 0x22 || code === 0x5c ? '\\' : ''}${String.fromCharCode(code)}`;
  });
  return plain === json ? json : plain.toWellFormed();
}

/** Masks from `-----BEGIN … PRIVATE KEY` to its end, or to the end of the text. */
function withoutPem(text: string): string {
  let out = '';
  let from = 0;
  for (let at = text.indexOf(pem); at !== -1; at = text.indexOf(pem, from)) {
    const label = text.slice(at, at + 64);
    if (!/PRIVATE KEY/.test(label)) {
      out += text.slice(from, at + pem.length);
      from = at + pem.length;
      continue;
    }
    const end = text.indexOf('-----END ', at);
    const close = end === -1 ? -1 : text.indexOf('-----', end + 9);
    out += text.slice(from, at) + masked;
    if (close === -1) return out;
    from = close + 5;
  }
  return out + text.slice(from);
}

function withoutMembers(text: string): string {
  let out = '';
  let from = 0;
  member.lastIndex = 0;
  for (let found = member.exec(text); found !== null; found = member.exec(text)) {
    const [whole, name = '', slashes = '', plain] = found;
    if (!secretName.test(name)) {
      // The value may itself be JSON with members of its own.
      member.lastIndex = found.index + name.length + slashes.length + 2;
      continue;
    }
    const start = found.index + whole.length - (plain?.length ?? 0);
    const end = plain === undefined ? endOfString(text, start, slashes.length) : start + plain.length;
    out += text.slice(from, start) + (plain === undefined ? masked : '0');
    from = end;
    member.lastIndex = end;
  }
  return from === 0 ? text : out + text.slice(from);
}

/** Position of the quote that ends a string whose opening quote has `depth` backslashes; the text's end without one. */
function endOfString(text: string, start: number, depth: number): number {
  for (let quote = text.indexOf('"', start); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (quote - slashes > start && text[quote - slashes - 1] === '\\') slashes++;
    if (closes(slashes, depth)) return quote - Math.min(slashes, depth);
  }
  return text.length;
}

/** Undoes one level of escaping at a time. A quote closes its string when an even number of backslashes is left. */
function closes(slashes: number, depth: number): boolean {
  while (depth > 0) {
    if (slashes % 2 === 0) return true;
    slashes = (slashes - 1) / 2;
    depth = (depth - 1) / 2;
  }
  return slashes % 2 === 0;
}

/**
 * Removes the last word of a truncated text: it may be the start of a credential that no pattern matches any more. A run of 256
 * characters stays: patterns match it without its end.
 */
export function withoutLastWord(text: string): string {
  let at = text.length;
  const least = Math.max(0, text.length - 256);
  while (at > least && /[\w\-./+=~:@]/.test(text[at - 1] as string)) at--;
  return at === least && least > 0 ? text : text.slice(0, at);
}
