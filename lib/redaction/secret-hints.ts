/** What a text may hold, by what its bytes give a sign of. Nothing is missed; what is found need not be there. */
export const sign = {
  /** A member or an assignment whose name tells of a secret. */
  name: 1,
  /** How a known kind of credential begins. */
  shape: 2,
  /** `Bearer` or `Basic` with a blank behind it. */
  scheme: 4,
  /** A URL. */
  url: 8,
  /** A key block. */
  pem: 16,
  /** Escaped characters, which may spell any of these, or a NUL, without which something may read as one of these. */
  hidden: 32,
} as const;

/** Behind these names stands the end of a member's name or of an assignment, which patterns bound to four blanks. */
const ends = ['"', '\\', ...[0, 1, 2, 3, 4].flatMap((blanks) => [':', '=', '：'].map((by) => ' '.repeat(blanks) + by)), ...[0, 1, 2, 3].map((blanks) => `${' '.repeat(blanks)}\t`)];
const kinds = ['api', 'access', 'private', 'auth', 'signing', 'encryption', 'account', 'master'];

/** What `mask` looks for, in lower case; letters of either case are found. */
const words: readonly (readonly [kind: number, words: readonly string[]])[] = [
  [sign.name, ['password', 'passwd', 'passphrase', 'passcode', 'secret', 'authorization', 'credential', 'cookie', 'session_id', 'sessionid', '密码', '口令', '密钥']],
  [sign.name, ['pass', 'pwd', 'key', 'token'].flatMap((name) => ends.map((end) => name + end))],
  [sign.name, kinds.flatMap((kind) => ['', '_', '.', '-', ' '].map((by) => `${kind}${by}key`))],
  [sign.shape, ['sk-', 'sk_', 'rk_', 'pk_', 'whsec_', 'eyj', 'akia', 'asia', 'aroa', 'aida', 'abia', 'acca', 'aiza', 'ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_']],
  [sign.shape, ['glpat-', 'gldt-', 'hf_', 'gsk_', 'npm_', 'pplx-', 'r8_', 'tvly-', 'dop_v1_', 'shpat_', 'lin_api_', 'figd_', 'dapi', 'xai-', 'pypi-', 'hvs.', 'nvapi-']],
  [sign.shape, ['tgp_v1_', 'sntrys_', 'dckr_pat_', 'xox', 'xapp-', 'fw_', 'sg.', 'ya29.']],
  [sign.scheme, ['bearer ', 'bearer\t', 'basic ', 'basic\t']],
  [sign.url, ['://']],
  [sign.pem, ['-----begin ']],
  [sign.hidden, ['\\u', '\0']],
];

/** Bytes told apart are fewer than this: a state is a row of so many. */
const width = 64;

/** More rows could not be told apart in 16 bits. */
const next16 = 65_536;

/** An automaton that knows all the words at once (Aho and Corasick, 1975). A state is where its row begins. */
interface Automaton {
  /** Of each byte. */
  readonly classes: Uint8Array;
  readonly next: Uint16Array;
  /** From this state on a word has been read. */
  readonly found: number;
  /** Kinds of the words that end in a state. */
  readonly kinds: Uint8Array;
  /** Bytes of the longest word. */
  readonly longest: number;
}

type Word = readonly [kind: number, bytes: Buffer];

function automatonOf(all: readonly Word[]): Automaton {
  const classes = classesOf(all);
  const most = all.reduce((sum, [, { length }]) => sum + length, 1);
  const next = new Uint16Array(most * width);
  const ending = new Uint8Array(most);
  let count = 1;
  for (const [kind, bytes] of all) {
    let state = 0;
    for (const byte of bytes) state = next[state * width + (classes[byte] as number)] ||= count++;
    ending[state] = (ending[state] as number) | kind;
  }
  complete(next, ending, count);
  if (count * width > next16 || classes.some((of) => of >= width)) throw new RangeError('too many words for the automaton');
  return { classes, ...sorted(next, ending, count), longest: Math.max(...all.map(([, { length }]) => length)) };
}

function classesOf(all: readonly Word[]): Uint8Array {
  const classes = new Uint8Array(256);
  let count = 0;
  for (const [, bytes] of all) for (const byte of bytes) if (classes[byte] === 0) classes[byte] = ++count;
  for (let upper = 65; upper <= 90; upper++) classes[upper] = classes[upper + 32] as number;
  return classes;
}

/** Gives every state its way on for every class: where no word goes on, that of the longest end which begins another word. */
function complete(next: Uint16Array, ending: Uint8Array, count: number): void {
  const instead = new Uint16Array(count);
  const queue = [0];
  for (const state of queue) {
    for (let of = 0; of < width; of++) {
      const other = state === 0 ? 0 : (next[(instead[state] as number) * width + of] as number);
      const to = next[state * width + of] as number;
      if (to === 0) next[state * width + of] = other;
      else {
        instead[to] = other;
        ending[to] = (ending[to] as number) | (ending[other] as number);
        queue.push(to);
      }
    }
  }
}

/** The states in which a word has been read come last, so that one comparison tells them. */
function sorted(next: Uint16Array, ending: Uint8Array, count: number): Pick<Automaton, 'next' | 'found' | 'kinds'> {
  const order = Array.from({ length: count }, (_, state) => state).sort((a, b) => Number(ending[a] !== 0) - Number(ending[b] !== 0) || a - b);
  const places = new Uint16Array(count);
  for (const [place, state] of order.entries()) places[state] = place * width;
  const rows = new Uint16Array(count * width);
  const kinds = new Uint8Array(count * width);
  for (let state = 0; state < count; state++) {
    const place = places[state] as number;
    for (let of = 0; of < width; of++) rows[place + of] = places[next[state * width + of] as number] as number;
    kinds[place] = ending[state] as number;
  }
  return { next: rows, found: order.findIndex((state) => ending[state] !== 0) * width, kinds };
}

let automaton: Automaton | null = null;

/** Made when it is asked for first. */
const known = (): Automaton => (automaton ??= automatonOf(words.flatMap(([kind, list]) => list.map((word) => [kind, Buffer.from(word)] as const))));

/** Whatever there may be. */
export const everySign = 63;

/** As {@link signsIn}, of a short text; of one with other letters than ASCII anything may be. */
export function signsOf(text: string): number {
  const { classes, next, found, kinds: of } = known();
  let signs = 0;
  let state = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 127) return everySign;
    state = next[state + (classes[code] as number)] as number;
    if (state >= found) signs |= of[state] as number;
  }
  return signs;
}

/** Shorter texts are read in one go. */
const short = 128;

/**
 * What UTF-8 text gives a sign of, as bits of {@link sign}: a nanosecond a byte, where the patterns take four to eight. Each
 * step waits for the one before it, so that a text is read in four places at a time.
 */
export function signsIn(bytes: Uint8Array): number {
  const { classes, next, found, kinds: of, longest } = known();
  const size = bytes.length;
  let signs = 0;
  let a = 0;
  if (size < short) {
    for (let at = 0; at < size; at++) {
      a = next[a + (classes[bytes[at] as number] as number)] as number;
      if (a >= found) signs |= of[a] as number;
    }
    return signs;
  }
  // A word that lies across the end of a quarter is read to its end with that quarter.
  const each = Math.ceil((size + 3 * longest) / 4);
  const second = each - longest;
  const third = 2 * second;
  const fourth = size - each;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let at = 0; at < each; at++) {
    a = next[a + (classes[bytes[at] as number] as number)] as number;
    b = next[b + (classes[bytes[second + at] as number] as number)] as number;
    c = next[c + (classes[bytes[third + at] as number] as number)] as number;
    d = next[d + (classes[bytes[fourth + at] as number] as number)] as number;
    if (a >= found || b >= found || c >= found || d >= found) signs |= (of[a] as number) | (of[b] as number) | (of[c] as number) | (of[d] as number);
  }
  return signs;
}
