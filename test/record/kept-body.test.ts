import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, it } from 'node:test';
import { grep } from '../../lib/journal/grep.ts';
import { signerOf } from '../../lib/journal/hash-chain.ts';
import { migrate } from '../../lib/journal/schema.ts';
import { verifyJournal } from '../../lib/journal/verify.ts';
import { briefBody, digestsIn } from '../../lib/record/kept-body.ts';
import { textLookup } from '../../lib/journal/texts.ts';
import { agentSession, writer, type Dialect } from '../support/agent-session.ts';
import { closing, type TestLike } from '../support/client.ts';
import { bodyJournal, type BodyJournal } from './kept.ts';
import { secret, start, trust } from './written.ts';

const dialects: readonly Dialect[] = ['messages', 'chat', 'responses', 'gemini'];

function scene(t: TestLike, options: Parameters<typeof bodyJournal>[1] = {}): BodyJournal & { readonly db: DatabaseSync } {
  const db = closing(t, new DatabaseSync(':memory:'));
  migrate(db, signerOf(secret), start);
  return { db, ...bodyJournal(db, options) };
}

const stored = (db: DatabaseSync, id: string): { request_body: string; request_texts: string | null } => db.prepare('SELECT request_body, request_texts FROM heimdall_logs WHERE request_id = ?').get(id) as { request_body: string; request_texts: string | null };
const all = (db: DatabaseSync): string => JSON.stringify(db.prepare('SELECT * FROM heimdall_logs').all()) + textsIn(db).join('\n');
const textsIn = (db: DatabaseSync): string[] => {
  const lookup = textLookup(db);
  return (db.prepare('SELECT digest FROM heimdall_texts').all() as { digest: string }[]).map(({ digest }) => lookup(digest)?.content ?? '');
};
/** Members that identify are masked. */
const withoutIds = ({ metadata: _metadata, prompt_cache_key: _key, client_metadata: _client, ...rest }: Record<string, unknown>): object => rest;

describe('a session of an agent', () => {
  for (const dialect of dialects) {
    it(`is kept once, found by every question, and put together again: ${dialect}`, (t) => {
      const { db, write, read } = scene(t);
      const session = agentSession(dialect, 11, 12);
      const ids = session.map(({ body, path }) => write(JSON.stringify(body), { url: path }));
      for (const [at, { body, question }] of session.entries()) {
        const id = ids[at] as string;
        const { request_body: text } = stored(db, id);
        assert.ok(text.includes(JSON.stringify(question).slice(1, -1)), text);
        assert.ok(text.length < 1500, text);
        assert.deepEqual(withoutIds(JSON.parse(read(id).request_body as string) as Record<string, unknown>), withoutIds(body));
        const { records } = grep(db, { wanted: {}, grep: question, limit: 5, cursor: null, order: 'oldest', now: start, time: 60_000 });
        assert.equal(records[0]?.request_id, id);
      }
      // What is new in each request, and once what is not.
      const { bytes } = db.prepare('SELECT sum(length(content)) AS bytes FROM heimdall_texts').get() as { bytes: number };
      assert.ok(bytes < 35_000, String(bytes));
      assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
    });
  }

  it('is read in brief with the roles and lengths of its turns and the names of its tools', (t) => {
    const { db, write } = scene(t);
    const ids = agentSession('messages', 3, 3).map(({ body }) => write(JSON.stringify(body)));
    const { request_body: text, request_texts: places } = stored(db, ids.at(-1) as string);
    const brief = briefBody(text, places, textLookup(db));
    assert.match(brief, /\[4 earlier turns, \d+ bytes: user \d+, assistant \d+, user \d+, assistant \d+\]/);
    assert.match(brief, /\[24 tools, \d+ bytes: Tool0, Tool1, .*Tool23\]/);
    assert.match(brief, /\[system, \d+ bytes\]/);
    assert.ok(!brief.includes('dddddddd') && brief.length < 2000);
  });

  it('keeps digests alone, and nothing', (t) => {
    const session = agentSession('chat', 5, 3);
    const digests = scene(t, { capture: { headers: 'safe', body: 10_240, text: 0, response: 0 } });
    const id = session.map(({ body }) => digests.write(JSON.stringify(body))).at(-1) as string;
    assert.ok(textsIn(digests.db).every((text) => text === ''));
    assert.match(digests.read(id).request_body as string, /\[user \d+, assistant \d+, \d+ bytes\]/);
    assert.equal(verifyJournal(digests.db, trust, { head: null }).broken, null);
    const none = scene(t, { capture: { headers: 'safe', body: 0, text: 32_768, response: 0 } });
    assert.equal(none.read(none.write(JSON.stringify(session[0]?.body))).request_body, null);
    assert.deepEqual(textsIn(none.db), []);
  });
});

describe('a body of megabytes', () => {
  it('adds a bounded part of itself, and digests of the rest', (t) => {
    const { db, write, read } = scene(t);
    const say = writer(8);
    const turn = say(30_000);
    const messages = Array.from({ length: 150 }, (_, at) => ({ role: at % 2 === 0 ? 'user' : 'assistant', content: `${at} ${turn}` }));
    const id = write(JSON.stringify({ system: say(5000), messages: [...messages, { role: 'user', content: 'the very question' }], tools: [{ name: 'f', description: say(3000) }] }));
    const { bytes } = db.prepare('SELECT sum(length(content)) AS bytes FROM heimdall_texts').get() as { bytes: number };
    assert.ok(bytes > 100_000 && bytes < 600_000, String(bytes));
    const whole = String(read(id).request_body);
    assert.match(whole, /\[text, \d+ bytes\].*the very question/s);
    assert.ok(whole.includes('"name":"f"') && whole.length > 1_000_000 && whole.length < 1_300_000, String(whole.length));
    assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
  });
});

describe('a body of very many members', () => {
  const many = (of: (at: number) => string): string => `{"model":"m",${Array.from({ length: 20_000 }, (_, at) => of(at)).join(',')}}`;
  const bodies: Readonly<Record<string, string>> = {
    'that identify': many((at) => `"user":"person ${at}"`),
    'of metadata': `{"client_metadata":${many((at) => `"x${at}":"y"`)}}`,
    'that are conversations': many((at) => `"messages":[{"role":"user","content":"${at}"}]`),
    'that are long': many((at) => `"m${at}":"${'word '.repeat(at < 200 ? 250 : 2)}"`),
  };
  for (const [name, body] of Object.entries(bodies)) {
    it(`is kept within the limit: ${name}`, (t) => {
      const { db, write } = scene(t);
      for (const id of [write(body), write(body)]) assert.ok(stored(db, id).request_body.length < 20_000, String(stored(db, id).request_body.length));
      assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
    });
  }
});

describe('a body in pretty JSON', () => {
  it('is put together again to the letter, read by a scan or not', (t) => {
    const { db, write, read } = scene(t);
    for (const dialect of dialects) {
      const texts = agentSession(dialect, 6, 3).map(({ body }) => JSON.stringify(withoutIds(body), null, 2));
      for (const text of texts) for (let times = 0; times < 2; times++) assert.equal(read(write(text)).request_body, text);
    }
    for (const text of ['{"messages":[],"tools":[],"system":[]}', `{"tools":[ ],"x":"${'y'.repeat(11_000)}"}`, `{"messages":[1,"a",null],"input":["${'b'.repeat(3000)}",2]}`, `{"tools":[{"functionDeclarations":[{"name":"a"}]},{"functionDeclarations":[{"name":"${'c'.repeat(2000)}"}]}]}`, `{"contents":{"role":"user"},"tools":{"a":"${'d'.repeat(1500)}"}}`]) {
      const body = String(read(write(text)).request_body);
      assert.ok(body === text || body.includes('characters of base64') || body.includes('… ['), body);
    }
    assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
  });
});

describe('the newest turn', () => {
  const say = writer(9);
  const bodies: Readonly<Record<string, object>> = {
    'behind attachments': { messages: [{ role: 'user', content: [{ type: 'text', text: say(15_000) }, { type: 'text', text: say(3000) }, { type: 'text', text: 'the very question' }] }] },
    'before a picture': { messages: [{ role: 'user', content: [{ type: 'text', text: 'the very question' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${'iVBORw0KGgo'.repeat(40_000)}` } }] }] },
    'behind a long paste': { messages: [{ role: 'user', content: `${say(30_000)} the very question` }] },
    'behind a very long paste': { messages: [{ role: 'user', content: `${'some words '.repeat(50_000)} the very question` }] },
    'behind very many parts': { messages: [{ role: 'user', content: [...Array.from({ length: 300 }, (_, at) => ({ type: 'text', text: `${at} ${'words '.repeat(200)}` })), { type: 'text', text: 'the very question' }] }] },
    'as a prompt': { prompt: 'the very question', suffix: say(20_000) },
    'as an input': { input: 'the very question', instructions: say(20_000) },
    'of Gemini, behind a long history': { contents: [{ role: 'user', parts: [{ text: say(20_000) }] }, { role: 'model', parts: [{ text: say(9000) }] }, { role: 'user', parts: [{ text: 'the very question' }] }] },
    'before long members': { messages: [{ role: 'user', content: 'the very question' }], response_format: { type: 'json_schema', json_schema: say(20_000) }, stop: say(400) },
    'with many tools behind it': { messages: [{ role: 'user', content: 'the very question' }], functions: Array.from({ length: 90 }, (_, at) => ({ name: `f${at}`, description: say(300) })) },
    'behind very many turns': { messages: [...Array.from({ length: 6000 }, (_, at) => ({ role: at % 2 === 0 ? 'user' : 'assistant', content: `${at}` })), { role: 'user', content: 'the very question' }] },
    'of a body in another order': { tools: [{ name: say(2000) }], messages: [{ role: 'user', content: 'the very question' }], model: 'm' },
  };
  for (const [name, body] of Object.entries(bodies)) {
    it(`is kept within the limit: ${name}`, (t) => {
      const { db, write, read } = scene(t);
      const id = write(JSON.stringify(body));
      const { request_body: text } = stored(db, id);
      assert.ok(text.includes('the very question') && Buffer.byteLength(text) < 10_500, text.slice(0, 300));
      assert.ok(String(read(id).request_body).includes('the very question'));
      assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
    });
  }

  it('is kept of a body that was compressed, and fingerprints are of what was sent and what was said', (t) => {
    const body = JSON.stringify({ system: say(20_000), messages: [{ role: 'user', content: 'the very question' }] });
    const { db, write, read } = scene(t, { watched: true });
    const turn = scene(t, { fingerprint: 'turn' });
    const plain = turn.read(turn.write(body)).content_fingerprint;
    const codings: readonly (readonly [string, (text: string) => Buffer])[] = [['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync], ['deflate', deflateSync], ['gzip, br', (text) => brotliCompressSync(gzipSync(text))]];
    for (const [coding, compress] of codings) {
      const bytes = compress(body);
      const more = { headers: ['Content-Type', 'application/json', 'Content-Encoding', coding], body: [bytes], bodyTotal: bytes.length, outline: null };
      const record = read(write('', more));
      assert.deepEqual([record.request_body, record.content_fingerprint], [body, hash('md5', bytes)], coding);
      assert.equal(turn.read(turn.write('', more)).content_fingerprint, plain, coding);
    }
    const attack = gzipSync(`{"a":"${' '.repeat(20_000_000)}"}`);
    for (const [coding, bytes] of [['gzip', attack], ['gzip', Buffer.from('no gzip')], ['x-own', Buffer.from(body)]] as const) {
      const record = read(write('', { headers: ['Content-Type', 'application/json', 'Content-Encoding', coding], body: [bytes], bodyTotal: bytes.length, outline: null }));
      assert.equal(record.request_body, `[${coding}, ${bytes.length} bytes]`);
    }
    assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
  });

  it('gives a fingerprint that repeats when people repeat themselves', (t) => {
    const { write, read } = scene(t, { fingerprint: 'turn' });
    const of = (body: object): string | null => read(write(JSON.stringify(body))).content_fingerprint;
    const prints = ['chat', 'messages', 'responses', 'gemini'].map((dialect) => of(agentSession(dialect as Dialect, 4, 2)[1]?.body as object));
    assert.equal(new Set(prints).size, 1);
    assert.match(String(prints[0]), /^[0-9a-f]{32}$/);
    assert.notEqual(of({ messages: [{ role: 'user', content: 'something else' }] }), prints[0]);
    assert.equal(of({ model: 'no turn' }), null);
    const off = scene(t, { fingerprint: 'off' });
    assert.equal(off.read(off.write('{"messages":[{"role":"user","content":"hello"}]}')).content_fingerprint, null);
  });
});

describe('a secret', () => {
  const say = writer(21);
  const key = 'sk-proj-planted0123456789abcdef';
  const pem = ['-----BEGIN PRIVATE KEY-----', 'MIIplantedplantedplantedplanted', '-----END PRIVATE KEY-----'];
  const long = say(2000);
  const session = (secretText: string): Readonly<Record<string, object>> => ({
    'in the newest turn': { messages: [{ role: 'user', content: `${long} ${secretText}` }], system: long },
    'in an old turn': { messages: [{ role: 'user', content: secretText }, { role: 'assistant', content: long }, { role: 'user', content: 'go on' }] },
    'in an answer of before': { messages: [{ role: 'user', content: long }, { role: 'assistant', content: `${secretText} ${long}` }, { role: 'user', content: 'go on' }] },
    'in the system prompt': { system: [{ type: 'text', text: `${long} ${secretText} ${long}` }], messages: [{ role: 'user', content: 'hello' }] },
    'in a tool': { tools: [{ name: 'f', description: `${long} ${secretText}` }], messages: [{ role: 'user', content: 'hello' }] },
    'as the name of a tool': { tools: [{ name: secretText.replace(/\W+/g, '_'), description: long }], messages: [{ role: 'user', content: 'hello' }] },
    'as a role': { messages: [{ role: 'user', content: long }, { role: secretText, content: 'x' }, { role: 'user', content: 'hello' }] },
    'in an attachment': { messages: [{ role: 'user', content: [{ type: 'text', text: `${secretText} ${long}` }, { type: 'text', text: 'hello' }] }] },
    'in another member': { messages: [{ role: 'user', content: 'hello' }], extra: { note: `${secretText} ${long}` } },
    'as a long member': { messages: [{ role: 'user', content: 'hello' }], api_key: `${secretText}${'x'.repeat(3000)}` },
    'where a turn is cut': { messages: [{ role: 'user', content: `${say(10_150)} ${secretText} ${say(3000)}` }], system: long },
    'where the end of a turn begins': { messages: [{ role: 'user', content: `${say(20_000)} ${secretText} ${say(2530)}` }] },
    'again and again in a very long turn': { messages: [{ role: 'user', content: `${secretText} `.repeat(20_000) }] },
    'where a text is cut': { system: `${say(32_740)} ${secretText} ${say(3000)}`, messages: [{ role: 'user', content: 'hello' }] },
    'in escapes': { system: `${long} ${[...secretText].map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}`, messages: [{ role: 'user', content: 'hello' }] },
    'in a member beside what identifies': { metadata: { user_id: 'u', password: secretText }, system: long, messages: [{ role: 'user', content: 'hello' }] },
  });
  const planted: Readonly<Record<string, readonly [text: string, secret: string]>> = {
    'of a known form': [key, key.slice(3)],
    'the caller’s own': ['callersecretcallersecretcallersecretcallersecret', 'callersecretcallersecret'],
    'a configured one': ['the-configured-secret', 'configured-secret'],
  };
  for (const [kind, [text, part]] of Object.entries(planted)) {
    it(`${kind} is masked wherever it stands, the first time and every time after`, (t) => {
      const { db, write, read } = scene(t);
      for (const [place, body] of Object.entries(session(text))) {
        const sent = place === 'in escapes' ? JSON.stringify(body).replaceAll('\\\\u', '\\u') : JSON.stringify(body);
        for (const id of [write(sent), write(sent)]) assert.ok(!`${all(db)}${String(read(id).request_body)}`.includes(part), place);
      }
      assert.equal(verifyJournal(db, trust, { head: null }).broken, null);
    });
  }

  it('is masked as clients write it that escape slashes, quotes and more', (t) => {
    const { db, write, read } = scene(t);
    const own = 'callers/very+own=key';
    const said = `postgres://user:hunter2@db, ${JSON.stringify({ password: 'one two' })}, https://x/?to=postgres%3A%2F%2Fuser%3Ahunter2%40db&k=${encodeURIComponent(own)}, ${own}`;
    const forms: readonly ((json: string) => string)[] = [(json) => json.replaceAll('/', '\\/'), (json) => json.replaceAll('\\"', '\\u0022').replaceAll('+', '\\u002B')];
    for (const form of forms) {
      for (const [place, places] of Object.entries(session(said))) {
        if (place === 'as the name of a tool') continue;
        const id = write(form(JSON.stringify(places)), { headers: ['Content-Type', 'application/json', 'X-Api-Key', own] });
        const kept = `${all(db)}${String(read(id).request_body)}`;
        for (const part of ['hunter2', 'one two', 'very+own', 'very%2Bown']) assert.ok(!kept.includes(part), `${part} ${place}`);
      }
    }
  });

  it('is masked from the time it is known, also in a text that came before', (t) => {
    const { db, write, builder } = scene(t);
    const body = JSON.stringify({ system: `${long} made-while-it-runs`, messages: [{ role: 'user', content: 'hello' }] });
    write(body);
    builder.hide(['made-while-it-runs']);
    const lookup = textLookup(db);
    const texts = digestsIn(stored(db, write(body)).request_texts).map((digest) => lookup(digest)?.content);
    assert.ok(texts.length > 0 && texts.every((text) => text?.includes('made-while-it-runs') === false));
  });

  it('of one caller is masked for it in a text that another caller has sent before', (t) => {
    const { db, write } = scene(t);
    const body = JSON.stringify({ system: `${long} other-callers-very-own-key`, messages: [{ role: 'user', content: 'hello' }] });
    const headers = (credential: string): Partial<Parameters<typeof write>[1]> => ({ headers: ['Content-Type', 'application/json', 'X-Api-Key', credential], tokenId: credential.slice(0, 16) });
    write(body, headers('a-key-of-somebody-else'));
    const id = write(body, headers('other-callers-very-own-key'));
    write(body, headers('a-third-callers-own-key'));
    const { request_texts: places } = stored(db, id);
    const lookup = textLookup(db);
    const text = digestsIn(places).map((digest) => lookup(digest)?.content).join(' ');
    assert.ok(text.includes('[masked]') && !text.includes('other-callers-very-own-key'));
    // Two system prompts, and what stands around them.
    assert.equal(textsIn(db).length, 3);
  });

  it('of one caller is masked for it in a list that another caller has sent again and again', (t) => {
    const { db, write } = scene(t);
    const own = 'other-callers-very-own-key';
    const tools = (text: string): string => JSON.stringify({ tools: [{ name: 'f', description: `${long} ${text}` }, { name: 'g', description: long }], messages: [{ role: 'user', content: 'hello' }] });
    const of = (credential: string): Partial<Parameters<typeof write>[1]> => ({ headers: ['Content-Type', 'application/json', 'X-Api-Key', credential], tokenId: credential.slice(0, 16) });
    const textOf = (id: string): string => {
      const { request_texts: places } = stored(db, id);
      const lookup = textLookup(db);
      return digestsIn(places).map((digest) => lookup(digest)?.content).join(' ');
    };
    const texts = ['a-key-of-somebody-else', 'a-key-of-somebody-else', 'a-key-of-somebody-else', own, own, own, 'a-third-callers-own-key'].map((credential) => textOf(write(tools(own), of(credential))));
    assert.deepEqual(texts.map((text) => text.includes(own)), [true, true, true, false, false, false, true]);
    // A list that comes again names the same texts.
    assert.equal(new Set(texts).size, 2);
  });

  it('of two is masked in a text that another caller has sent, whose one credential spells both, or whose is not in it', (t) => {
    const { db, write } = scene(t);
    const [one, two] = ['first-key-of-two', 'second-key-of-two'];
    const body = JSON.stringify({ system: `${one} ${two} ${long.repeat(20)}`, messages: [{ role: 'user', content: 'hello' }] });
    const of = (...keys: readonly string[]): Partial<Parameters<typeof write>[1]> => ({ url: `/v1/messages?${keys.map((key, at) => `key${at}=${encodeURIComponent(key)}`).join('&')}` });
    const isKept = (id: string): boolean => {
      const lookup = textLookup(db);
      const text = digestsIn(stored(db, id).request_texts).map((digest) => lookup(digest)?.content).join(' ');
      return text.includes(one) || text.includes(two);
    };
    const others = Array.from({ length: 40 }, (_, nth) => [`key-of-caller-number-${nth}`]);
    for (const keys of [[`${one}\n${two}`], ...others, ...others]) assert.ok(isKept(write(body, of(...keys))));
    assert.ok(!isKept(write(body, of(one, two))));
  });

  it('that is a key block is masked to its end, through as many turns as it takes', (t) => {
    const { db, write, read } = scene(t);
    const bodies = [
      { messages: [{ role: 'user', content: `${long} ${pem[0]}` }, { role: 'assistant', content: `${pem[1]} ${long}` }, { role: 'user', content: `${pem[1]} ${pem[2]} and then` }] },
      { system: `${long} ${pem[0]}`, messages: [{ role: 'user', content: `${pem[1]} ${pem[2]} and then` }], tools: [{ name: 'f', description: long }] },
    ];
    for (const body of bodies) {
      for (const id of [write(JSON.stringify(body)), write(JSON.stringify(body))]) {
        assert.ok(!`${all(db)}${String(read(id).request_body)}`.includes('MIIplanted'));
        assert.ok(String(read(id).request_body).includes('and then'));
      }
    }
  });

  it('that identifies a person, a device or a session is not kept in clear', (t) => {
    const { db, write } = scene(t);
    const id = 'c0ffee00-dead-4000-8000-00000000beef';
    for (const body of [{ user: id }, { safety_identifier: id }, { prompt_cache_key: id }, { metadata: { user_id: JSON.stringify({ device_id: id }) } }, { metadata: id }, { client_metadata: { 'x-codex-installation-id': id, thread_id: id } }]) {
      write(JSON.stringify({ ...body, model: 'm', messages: [{ role: 'user', content: 'hello' }] }));
      write(JSON.stringify({ messages: [{ role: 'user', content: long }, { role: 'user', content: 'hello' }], ...body }));
    }
    assert.ok(!all(db).includes('beef'));
  });
});
