import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { Ledger } from './ledger.ts';
import { ATTACKER, head, keysYaml, openScene, shown, type Scene } from './scene.ts';
import { readTarget, tell, type Arrival, type React } from './stand-in.ts';
import { exchange } from './wire.ts';

/**
 * What may become of it: `never` does it reach the upstream with the forbidden model in it, `served` it must, since no reader finds
 * that model in a place that counts.
 */
type Fate = 'never' | 'served';

interface Reading {
  readonly name: string;
  readonly fate: Fate;
  readonly bytes: readonly (string | Buffer)[];
}

const key = `Authorization: Bearer ${ATTACKER.key}`;
const allowed = 'allowed-1';
const bad = 'forbidden-9';

const react: React = (arrival, at) => {
  if (arrival.headers.has('upgrade')) return at === 'head' ? { bytes: 'HTTP/1.1 400 No\r\nX-Oneapi-Request-Id: r\r\nContent-Length: 0\r\n\r\n' } : null;
  return at === 'end' ? tell(arrival) : null;
};

/** Targets of routes on which the model stands in the path or the query. */
function targets(): Reading[] {
  const generate = (target: string, fate: Fate = 'never'): Reading => ({ name: `POST ${target}`, fate, bytes: [`${head('POST', target, [key, 'Content-Type: application/json', 'Content-Length: 2'])}{}`] });
  const under = (base: string): Reading[] => [
    generate(`${base}/${allowed}:generateContent`, 'served'),
    generate(`${base}/${allowed}:generateContent?note=${bad}`, 'served'),
    ...[
      `${bad}:generateContent`, `${bad}`, `${bad}:streamGenerateContent?alt=sse`, `${bad}%3AgenerateContent`, `%66orbidden-9:generateContent`, `%2566orbidden-9:generateContent`, `%252566orbidden-9:generateContent`,
      `${allowed}/../${bad}:generateContent`, `${allowed}%2f..%2f${bad}:generateContent`, `${allowed}%2F%2e%2e%2F${bad}:generateContent`, `${allowed}%252f..%252f${bad}:generateContent`, `${allowed}/%2e%2e/${bad}:generateContent`, `${allowed}/.%2e/${bad}:generateContent`,
      `${allowed}:x/../${bad}:generateContent`, `${allowed}:generateContent/../${bad}:generateContent`, `${allowed};/../${bad}:generateContent`, `${allowed}/..;/${bad}:generateContent`, `${allowed};x=/../${bad}:generateContent`, `${bad};x:generateContent`, `;x/${bad}:generateContent`,
      `./${bad}:generateContent`, `/${bad}:generateContent`, `//${bad}:generateContent`, `%2f${bad}:generateContent`, `\\${bad}:generateContent`, `${allowed}\\..\\${bad}:generateContent`, `${allowed}%5c..%5c${bad}:generateContent`,
      `models/${bad}:generateContent`, `models%2f${bad}:generateContent`, `${bad}/:generateContent`, `${bad}%20:generateContent`, `${bad}%00:generateContent`, `${allowed}%00${bad}:generateContent`, `${allowed}%0a${bad}:generateContent`, `${allowed}%0d%0a${bad}:generateContent`,
      `${allowed}#/../${bad}:generateContent`, `${allowed}%23/../${bad}:generateContent`, `${allowed}%3f/../${bad}:generateContent`, `${allowed}/%c0%ae%c0%ae/${bad}:generateContent`, `${allowed}/%ef%bc%8e%ef%bc%8e/${bad}:generateContent`, `${allowed}%c0%af..%c0%af${bad}:generateContent`, `${allowed}%u002f..%u002f${bad}:generateContent`,
      `FORBIDDEN-9:generateContent`, `${allowed},${bad}:generateContent`, `%EF%BB%BF${bad}:generateContent`, `${allowed}%2f%2e%2e%2f${bad}%3agenerateContent`, `${bad}:generateContent/`, `${bad}:generateContent/../${allowed}:generateContent`, `%2e%2e/models/${bad}:generateContent`, `../models/${bad}:generateContent`,
    ].map((rest) => generate(`${base}/${rest}`)),
  ];
  const realtime = (query: string, fate: Fate = 'never'): Reading => ({ name: `realtime ${query}`, fate, bytes: [head('GET', `/v1/realtime${query}`, [key, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg=='])] });
  return [
    ...under('/v1beta/models'),
    ...under('/v1/models'),
    ...['/v1beta//models', '//v1beta/models', '/./v1beta/models', '/x/../v1beta/models', '/x/%2e%2e/v1beta/models', '/v1beta%2fmodels', '/%761beta/models', '/v1beta/./models', '/v1beta/x/../models', '/v1beta\\models', '/v1beta;x/models', '/api/..;/v1beta/models', '/api/../v1beta/models', '/v1beta/models/../models'].map((base) => generate(`${base}/${bad}:generateContent`)),
    realtime(`?model=${allowed}`, 'served'),
    ...[`?model=${bad}`, `?model=${allowed}&model=${bad}`, `?model=${bad}&model=${allowed}`, `?%6dodel=${bad}`, `?mode%6C=${bad}&x=y`, `?model=${allowed};model=${bad}`, `?x=1;model=${bad}`, `?&model=${bad}`, `?model=%66orbidden-9`, `?model=${bad}#`, `?model=${bad}%20`, `?model=+${bad}`].map((query) => realtime(query)),
  ];
}

/** Spellings of a route that needs a credential, sent without one. */
function openDoors(): Reading[] {
  const paths = ['/v1/../v1/chat/completions', '/api/../v1/chat/completions', '/%76%31/chat/completions', '/v1%2fchat%2fcompletions', '/v1/chat%2Fcompletions', '/api/..;/v1/chat/completions', '/api;/../v1/chat/completions', '//v1/chat/completions', '/v1//chat//completions', '/./v1/chat/completions', '/v1/./chat/completions', '/v1/chat/completions;x', '/v1;x/chat/completions', '/v1\\chat\\completions', '/x/%2e%2e/v1/chat/completions', '/v1/chat/x/../completions', '/v1/chat/completions/.', '/v1/chat/completions/x/..', '/assets/../v1/chat/completions', '/v1/chat/completions%00', '/v1/chat/completions%3f', '/v1/chat/completions%23', '/mj/image/../../v1/chat/completions', '/mj/image/%2e%2e/%2e%2e/v1/chat/completions', '/api/stripe/webhook/../../../v1/chat/completions', '/v1/videos/x/content/../../../chat/completions'];
  return paths.map((path) => ({ name: `POST ${path} without a key`, fate: 'never', bytes: [`${head('POST', path, ['Content-Type: application/json', `Content-Length: ${doorBody.length}`])}${doorBody}`] }));
}

const doorBody = `{"model":"${bad}"}`;

type Part = string | Buffer;

/** Multipart forms; a form is its parts as they stand on the wire. */
function forms(): Reading[] {
  const made: Reading[] = [];
  const send = (name: string, fate: Fate, type: string | readonly string[], body: string | Buffer, lines: readonly string[] = []): void => {
    for (const path of ['/v1/audio/transcriptions', '/v1/images/edits']) {
      const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body, 'latin1');
      const types = typeof type === 'string' ? [type] : type;
      made.push({ name: `${path}, ${name}`, fate, bytes: [head('POST', path, [key, ...types.map((each) => `Content-Type: ${each}`), ...lines, `Content-Length: ${bytes.length}`]), bytes] });
    }
  };
  const plain = 'multipart/form-data; boundary=b';
  const field = (disposition: string, value: string): string => `${disposition}\r\n\r\n${value}`;
  const named = (parameters: string): string => `Content-Disposition: form-data; ${parameters}`;
  const model = (value: string): string => field(named('name="model"'), value);
  const file = field(`${named('name="file"; filename="a.mp3"')}\r\nContent-Type: audio/mpeg`, 'bytes');
  const form = (...parts: readonly Part[]): string => `${parts.map((part) => `--b\r\n${part.toString()}\r\n`).join('')}--b--\r\n`;
  const one = (name: string, fate: Fate, ...parts: readonly Part[]): void => send(name, fate, plain, form(...parts, file));
  one('allowed', 'served', model(allowed));
  one('forbidden', 'never', model(bad));
  one('forbidden in a file', 'served', model(allowed), field(named('name="file"; filename="b"'), `--c\r\n${model(bad)}`));
  one('forbidden as another field', 'served', model(allowed), field(named('name="prompt"'), bad));
  one('allowed, then forbidden', 'never', model(allowed), model(bad));
  one('forbidden, then allowed', 'never', model(bad), model(allowed));
  one('forbidden behind the file', 'never', file, model(bad));
  const names = ['name=model', 'name = "model"', "name='model'", 'NAME="model"', 'Name=model', "name*=utf-8''model", "name*=UTF-8'en'mod%65l", 'name*0="mo"; name*1="del"', 'name*0*=utf-8\'\'mo; name*1="del"', 'name="m\\odel"', 'name="\\m\\o\\d\\e\\l"', 'name="x"; name="model"', 'name="model"; name="x"', 'name="model";', ' name="model"', '\tname="model"', 'name="model" ', 'x=1; name="model"', 'x="; name=y"; name="model"', 'x="\\"; name=y"; name="model"', 'name="model"; filename=""', 'name="model"; filename=', "name=\"model\"; filename*=utf-8''", 'filename=""; name="model"', 'name="model"; size=11', 'name="mod%65l"', 'name="model\0"', 'name="model "', 'name=" model"', 'name="=?utf-8?Q?model?="', 'name="&#109;odel"', 'name=model; filename', 'name="mod\\u0065l"', 'name=mo"del"', 'name="model"x', 'n\xe4me="x"; name="model"', 'name="model"; charset=utf-16'];
  for (const parameters of names) one(`a part of ${JSON.stringify(parameters)}`, 'never', field(named(parameters), bad));
  for (const parameters of names.slice(0, 24)) one(`allowed, then a part of ${JSON.stringify(parameters)}`, 'never', model(allowed), field(named(parameters), bad));
  const heads: Record<string, string> = {
    'a folded head': 'Content-Disposition: form-data;\r\n name="model"', 'a head folded by a tab': 'Content-Disposition: form-data;\r\n\tname="model"', 'a space before the colon': 'Content-Disposition : form-data; name="model"', 'no space behind the colon': 'Content-Disposition:form-data; name="model"',
    'small letters': 'content-disposition: form-data; name="model"', 'capitals': 'CONTENT-DISPOSITION: FORM-DATA; NAME="model"', 'two dispositions': `${named('name="x"')}\r\n${named('name="model"')}`, 'two dispositions, the other way': `${named('name="model"')}\r\n${named('name="x"')}`,
    'an attachment': 'Content-Disposition: attachment; name="model"', 'inline': 'Content-Disposition: inline; name="model"', 'no type': 'Content-Disposition: name="model"', 'a line without a colon before': `nothing\r\n${named('name="model"')}`, 'a long line before': `X-Long: ${'x'.repeat(5000)}\r\n${named('name="model"')}`, 'a line of 20 KB before': `X-Long: ${'x'.repeat(20_000)}\r\n${named('name="model"')}`, 'two hundred lines before': `${Array.from({ length: 200 }, (_, nth) => `X-${nth}: x`).join('\r\n')}\r\n${named('name="model"')}`,
    'a bare LF in the head': `X: y\n${named('name="model"')}`, 'a bare CR in the head': `X: y\r${named('name="model"')}`, 'a space before the line': ` ${named('name="model"')}`, 'form-data with a comma': 'Content-Disposition: form-data, name="model"', 'a colon for an equals sign': 'Content-Disposition: form-data; name:"model"', 'a quoted-printable value': `${named('name="model"')}\r\nContent-Transfer-Encoding: quoted-printable`,
  };
  for (const [name, part] of Object.entries(heads)) {
    one(name, 'never', field(part, bad));
    one(`allowed, then ${name}`, 'never', model(allowed), field(part, bad));
  }
  one('quoted-printable', 'never', field(`${named('name="model"')}\r\nContent-Transfer-Encoding: quoted-printable`, 'forbi=64den-9'));
  one('quoted-printable with a soft break', 'never', field(`${named('name="model"')}\r\nContent-Transfer-Encoding: quoted-printable`, 'forbid=\r\nden-9'));
  one('base64', 'never', field(`${named('name="model"')}\r\nContent-Transfer-Encoding: base64`, Buffer.from(bad).toString('base64')));
  one('nested', 'never', field(`Content-Disposition: form-data; name="x"\r\nContent-Type: multipart/mixed; boundary=c`, `--c\r\n${model(bad)}\r\n--c--`), model(bad));
  one('1 100 parts before', 'never', ...Array.from({ length: 1100 }, (_, nth) => field(named(`name="x${nth}"`), '')), model(bad));
  delimiters(send, model, file);
  types(send, form(model(bad), file), plain);
  return made;
}

type Send = (name: string, fate: Fate, type: string | readonly string[], body: string | Buffer, lines?: readonly string[]) => void;

/** Where a part begins and ends. */
function delimiters(send: Send, model: (value: string) => string, file: string): void {
  const plain = 'multipart/form-data; boundary=b';
  const bodies: Record<string, string> = {
    'LF alone': `--b\n${model(bad).replaceAll('\r\n', '\n')}\n--b--\n`, 'CR alone': `--b\r${model(bad).replaceAll('\r\n', '\r')}\r--b--\r`, 'LF behind the first delimiter': `--b\n${model(bad)}\r\n--b--\r\n`, 'LF before the delimiter': `--b\r\n${model(allowed)}\n--b\r\n${model(bad)}\r\n--b--\r\n`,
    'space behind the delimiter': `--b \r\n${model(bad)}\r\n--b--\r\n`, 'tab behind the delimiter': `--b\t\r\n${model(bad)}\r\n--b--\r\n`, 'letters behind the delimiter': `--bX\r\n${model(bad)}\r\n--b--\r\n`, 'a dash behind the delimiter': `--b-\r\n${model(bad)}\r\n--b--\r\n`,
    'no delimiter at the end': `--b\r\n${model(bad)}\r\n`, 'no line at the end': `--b\r\n${model(bad)}`, 'a preamble': `preamble\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'a preamble without its line': `preamble--b\r\n${model(bad)}\r\n--b--\r\n`, 'an empty line first': `\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'allowed in the preamble': `--b--\r\n${model(allowed)}\r\n--b\r\n${model(bad)}\r\n--b--\r\n`,
    'an epilogue': `--b\r\n${model(allowed)}\r\n--b--\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'an end with a space': `--b\r\n${model(allowed)}\r\n--b-- \r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'an end with letters': `--b\r\n${model(allowed)}\r\n--b--x\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'an end with one dash': `--b\r\n${model(allowed)}\r\n--b-\r\n--b\r\n${model(bad)}\r\n--b--\r\n`,
    'three dashes': `---b\r\n${model(bad)}\r\n---b--\r\n`, 'a delimiter in capitals': `--B\r\n${model(bad)}\r\n--B--\r\n`, 'an empty part first': `--b\r\n\r\n\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'no head': `--b\r\n${model(bad)}`, 'a head without an end': `--b\r\nContent-Disposition: form-data; name="x"\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'a delimiter twice': `--b\r\n--b\r\n${model(bad)}\r\n--b--\r\n`,
    'a delimiter right behind the head': `--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n--b\r\n${model(bad)}\r\n--b--\r\n`, 'CR CR LF': `--b\r\r\n${model(bad)}\r\r\n--b--\r\r\n`,
  };
  for (const [name, body] of Object.entries(bodies)) {
    send(`delimiter: ${name}`, 'never', plain, body);
    send(`delimiter: ${name}, a file behind`, 'never', plain, `${body}\r\n--b\r\n${file}\r\n--b--\r\n`);
  }
}

/** How the content type names the form. */
function types(send: Send, body: string, plain: string): void {
  const spellings: readonly (readonly string[])[] = [
    ['multipart/form-data; boundary="b"'], ['multipart/form-data;boundary=b'], ['multipart/form-data ; boundary=b'], ['multipart/form-data; boundary =b'], ['multipart/form-data; boundary= b'], ['multipart/form-data; boundary=b;'], ['multipart/form-data; Boundary=b'], ['MULTIPART/FORM-DATA; BOUNDARY=b'], ['multipart/form-data; x=y; boundary=b'], ['multipart/form-data; x="; boundary=c"; boundary=b'], ['multipart/form-data; x="\\"; boundary=c"; boundary=b'],
    ['multipart/form-data; boundary=b; boundary=c'], ['multipart/form-data; boundary=c; boundary=b'], ["multipart/form-data; boundary*=utf-8''b"], ['multipart/form-data; boundary*0=b'], ['multipart/form-data; boundary=b, application/json'], ['application/json, multipart/form-data; boundary=b'], ['multipart/form-data, multipart/form-data; boundary=b'], ['multipart/form-data; charset=utf-8; boundary=b'], ['multipart/mixed; boundary=b'], ['multipart/related; boundary=b'], ['multipart/x; boundary=b'], ['multipart/; boundary=b'], ['multipart/form-data/x; boundary=b'], ['multipart/form-data x; boundary=b'], [' multipart/form-data; boundary=b'], ['multipart/form-data\t; boundary=b'], ['multipart/form-data; boundary="\\b"'], ["multipart/form-data; boundary='b'"], ['multipart/form-data; boundary=b\0'], ['multipart/form-data; boundary=b x'], ['multipart/form-data; boundary="b'], ['multipart/form-data;; boundary=b'], ['multipart/form-data boundary=b'], ['multipart/form-data'],
    [plain, 'application/json'], ['application/json', plain], [plain, 'multipart/form-data; boundary=c'], ['multipart/form-data; boundary=c', plain],
  ];
  for (const list of spellings) send(`type ${JSON.stringify(list.join(' | '))}`, 'never', list, body);
  const bytes = Buffer.from(body, 'latin1');
  const coded: Record<string, Buffer> = { gzip: gzipSync(bytes), 'x-gzip': gzipSync(bytes), br: brotliCompressSync(bytes), deflate: deflateSync(bytes), zstd: zstdCompressSync(bytes), 'gzip, gzip': gzipSync(gzipSync(bytes)), identity: bytes, GZIP: gzipSync(bytes) };
  for (const [coding, packed] of Object.entries(coded)) send(`packed by ${coding}`, 'never', plain, packed, [`Content-Encoding: ${coding}`]);
  const slashed = '--a/json\r\nContent-Disposition: form-data; name="model"\r\n\r\nforbidden-9\r\n--a/json--\r\n';
  send('a boundary that names JSON', 'never', 'multipart/form-data; boundary="a/json"', slashed);
  send('JSON', 'never', 'application/json', `{"model":"${bad}"}`);
  send('a form in the query\'s way', 'never', 'application/x-www-form-urlencoded', `model=${bad}`);
}

/** JSON bodies of a chat. */
function bodies(): Reading[] {
  const send = (name: string, fate: Fate, body: string | Buffer, lines: readonly string[] = ['Content-Type: application/json']): Reading => {
    const bytes = Buffer.from(body);
    return { name: `chat, ${name}`, fate, bytes: [head('POST', '/v1/chat/completions', [key, ...lines, `Content-Length: ${bytes.length}`]), bytes] };
  };
  const json = `{"model":"${bad}"}`;
  const slashed = `--a/json\r\nContent-Disposition: form-data; name="model"\r\n\r\n${bad}\r\n--a/json--\r\n`;
  const texts: readonly string[] = [
    json, `{"model":"${allowed}","model":"${bad}"}`, `{"model":"${bad}","model":"${allowed}"}`, `{"Model":"${bad}"}`, `{"model":"${allowed}","Model":"${bad}"}`, `{"MODEL":"${bad}","model":"${allowed}"}`, `{"mod\\u0065l":"${bad}"}`, `{"model":"${allowed}","mod\\u0065l":"${bad}"}`, `{"model":"\\u0066orbidden-9"}`, `{"model":"${allowed}"}{"model":"${bad}"}`, `{"model":"${allowed}"} ${json}`, `\ufeff${json}`, `[${json}]`, `{"model":["${bad}"]}`, `{"model":{"name":"${bad}"}}`, `{"x":{"model":"${allowed}"},"model":"${bad}"}`,
    `{"model":"${allowed}\\u0000","model":"${bad}"}`, `{"model":"${allowed}",/*x*/"model":"${bad}"}`, `{model:"${bad}"}`, `{'model':'${bad}'}`, `{"model":"${bad}",}`, `{"model" :\n"${bad}"}`, `{"x":"\\"","model":"${bad}"}`, `{"x":"\\\\","model":"${bad}"}`, `{"model":"${bad} "}`, `{"model":" ${bad}"}`, `{"model":"FORBIDDEN-9"}`, `{"model":null,"model":"${bad}"}`, `{"mo\\u0064el":"${bad}","model":"${allowed}"}`, `{"ｍodel":"${allowed}","model":"${bad}"}`, `{"x":NaN,"model":"${bad}"}`, `{"x":01,"model":"${bad}"}`, `{"model":"${allowed}","x":"\u2028","model":"${bad}"}`,
  ];
  return [
    send('allowed', 'served', `{"model":"${allowed}"}`),
    send('forbidden in a text', 'served', `{"model":"${allowed}","messages":[{"role":"user","content":"\\"model\\":\\"${bad}\\""}]}`),
    send('forbidden in a member of a member', 'served', `{"model":"${allowed}","metadata":{"model":"${bad}"}}`),
    ...texts.map((text) => send(text, 'never', text)),
    ...['text/plain', 'application/json; charset=utf-16', 'application/JSON', 'application/vnd.api+json', 'text/json', '', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=b', 'application/octet-stream'].map((type) => send(`as ${JSON.stringify(type)}`, 'never', json, [`Content-Type: ${type}`])),
    send('without a type', 'never', json, []),
    send('two types', 'never', json, ['Content-Type: text/plain', 'Content-Type: application/json']),
    send('a form whose boundary names JSON', 'never', slashed, ['Content-Type: multipart/form-data; boundary="a/json"']),
    send('in the query\'s way', 'never', `model=${bad}`, ['Content-Type: application/x-www-form-urlencoded']),
    ...Object.entries({ gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync, zstd: zstdCompressSync } as const).map(([coding, pack]) => send(`packed by ${coding}`, 'never', pack(Buffer.from(json)), ['Content-Type: application/json', `Content-Encoding: ${coding}`])),
    send('packed by two', 'never', gzipSync(gzipSync(json)), ['Content-Type: application/json', 'Content-Encoding: gzip, gzip']),
    send('packed by two, in two lines', 'never', gzipSync(brotliCompressSync(json)), ['Content-Type: application/json', 'Content-Encoding: br', 'Content-Encoding: gzip']),
    send('two gzip members', 'never', Buffer.concat([gzipSync(`{"model":"${allowed}","x":"`), gzipSync(`","model":"${bad}"}`)]), ['Content-Type: application/json', 'Content-Encoding: gzip']),
    send('rubbish behind gzip', 'never', Buffer.concat([gzipSync(json), Buffer.from('x')]), ['Content-Type: application/json', 'Content-Encoding: gzip']),
    send('packed and not said', 'never', gzipSync(json)),
    send('said and not packed', 'never', json, ['Content-Type: application/json', 'Content-Encoding: gzip']),
  ];
}

/** Spellings of paths and bodies that one reader takes for an allowed model and another for a forbidden one. */
export async function readings(ledger: Ledger): Promise<void> {
  const groups: Readonly<Record<string, readonly Reading[]>> = { paths: [...targets(), ...openDoors()], multipart: forms(), json: bodies() };
  const scene = await openScene(`${keysYaml(`, models: [${allowed}]`)}rate_limit: { address: { limit: 0 } }\n`, { react });
  try {
    for (const [group, list] of Object.entries(groups)) {
      for (const reading of list) {
        if (ledger.skips(group, 'direct', reading.name)) continue;
        ledger.note({ group, via: 'direct', vector: reading.name, expected: reading.fate === 'served' ? 'served' : 'refused, or sent without the forbidden model', got: await attempt(scene, reading) });
      }
    }
  } finally {
    await scene.close();
  }
}

async function attempt({ port, upstream, alive }: Scene, { fate, bytes }: Reading): Promise<string | null> {
  const before = upstream.arrivals.length;
  const heard = await exchange(port, bytes, { expected: 1, patience: 2000 });
  if (!alive()) return 'the process ended';
  const [arrival] = upstream.arrivals.slice(before);
  if (fate === 'served') return arrival === undefined ? shown(heard) : null;
  return arrival !== undefined && names(arrival) ? `sent as ${arrival.method} ${arrival.target}, answered ${shown(heard)}` : null;
}

/** Whether any reader could find the forbidden model in it. */
function names({ target, head: text, body }: Arrival): boolean {
  const spelled = [target, readTarget(target).path, unpack(body)].map(plainly).join('\n').toLowerCase();
  if (spelled.includes(bad)) return true;
  return body.toString('latin1').includes(Buffer.from(bad).toString('base64')) || /^content-encoding:/im.test(text);
}

function plainly(text: string): string {
  let plain = text.replaceAll('=\r\n', '').replace(/=([\dA-F]{2})/g, '%$1').replace(/\\u([\da-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  for (let round = 0; round < 3; round++) plain = plain.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return plain;
}

/** Packed bodies are told by their header. */
const unpack = (body: Buffer): string => body.toString('latin1');
