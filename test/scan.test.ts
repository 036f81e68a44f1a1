import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formModel, scanMembers } from '../lib/scan.ts';
import { generator } from './support/random.ts';

type Found = { readonly model: string | null; readonly stream: boolean } | null;

/** What `JSON.parse` says of the same bytes. */
function parsed(bytes: Buffer): Found | 'no object' {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'no object';
  const { model, stream } = value as Record<string, unknown>;
  return { model: Object.hasOwn(value, 'model') && typeof model === 'string' ? model : null, stream: stream === true };
}

/** Where `JSON.parse` reads an object the scanner reads the same; where the scanner refuses, so does `JSON.parse`. */
function agree(bytes: Buffer): void {
  const expected = parsed(bytes);
  const members = scanMembers(bytes);
  if (expected === 'no object') return assert.equal(members, null, bytes.toString());
  if (expected === null) return;
  assert.ok(members, bytes.toString());
  assert.deepEqual({ model: members.model, stream: members.stream }, expected, bytes.toString());
  if (members.modelSpan === null) return assert.equal(members.model, null);
  assert.equal(JSON.parse(bytes.subarray(...members.modelSpan).toString()), members.model);
}

const texts = ['', 'model', 'stream', 'a"b', 'a\\b', '\\', '"', '\n', '{', '}', '[', ']', ':', ',', 'é', '鍵', '\u{1f511}', '\ud800', '\u0000', '\\"', 'x'.repeat(47), 'x'.repeat(48), 'x'.repeat(49), `${'y'.repeat(60)}\\`, `${'z'.repeat(60)}"`];

/** Documents of every kind, with the names looked for at every depth and in every spelling. */
function makeDocument(pick: (bound: number) => number): string {
  const space = (): string => ['', '', '', ' ', '\n', '\t\r\n '][pick(6)] as string;
  const string = (): string => {
    const plain = JSON.stringify(texts[pick(texts.length)]);
    return pick(4) > 0 ? plain : plain.replace(/[a-zé"]/g, (char) => (char === '"' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`));
  };
  const value = (depth: number): string => {
    const kind = pick(depth > 3 ? 6 : 8);
    if (kind === 6) return `[${space()}${list(depth, () => value(depth + 1))}${space()}]`;
    if (kind === 7) return object(depth + 1);
    return kind === 0 ? string() : (['true', 'false', 'null', '0', '-1.5e+10'][kind - 1] as string);
  };
  const list = (depth: number, item: () => string): string => Array.from({ length: pick(depth > 2 ? 2 : 5) }, item).join(`${space()},${space()}`);
  const object = (depth: number): string => `{${space()}${list(depth, () => `${pick(3) ? string() : ['"model"', '"stream"', '"\\u006dodel"'][pick(3)]}${space()}:${space()}${value(depth)}`)}${space()}}`;
  return `${space()}${object(0)}${space()}`;
}

describe('scanMembers', () => {
  it('agrees with JSON.parse on generated documents', () => {
    const pick = generator(11);
    const seen = { models: 0, streams: 0 };
    for (let round = 0; round < 10_000; round++) {
      const bytes = Buffer.from(makeDocument(pick));
      agree(bytes);
      const members = scanMembers(bytes);
      if (members?.model) seen.models++;
      if (members?.stream) seen.streams++;
    }
    assert.ok(seen.models > 100 && seen.streams > 50, JSON.stringify(seen));
  });

  it('agrees with JSON.parse on mutilated documents', () => {
    const pick = generator(12);
    const noise = Buffer.from('{}[]",:\\ntrue0 \xff\x00', 'latin1');
    for (let round = 0; round < 10_000; round++) {
      const bytes = Buffer.from(makeDocument(pick));
      const at = pick(bytes.length);
      const kind = pick(3);
      if (kind === 0) bytes[at] = noise[pick(noise.length)] as number;
      agree(kind === 0 ? bytes : kind === 1 ? Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]) : Buffer.concat([bytes.subarray(0, at), Buffer.from([noise[pick(noise.length)] as number]), bytes.subarray(at)]));
    }
  });

  it('refuses a document cut at any byte', () => {
    const text = ' {"model":"gpt-4o","messages":[{"role":"user","content":"say \\"hi\\" \\\\ \u{1f511}"},[[{}]]],"stream" : true,"n":-1.5e3,"é":null}';
    const bytes = Buffer.from(text);
    assert.deepEqual(scanMembers(bytes)?.model, 'gpt-4o');
    for (let end = 0; end < bytes.length; end++) assert.equal(scanMembers(bytes.subarray(0, end)), null, bytes.subarray(0, end).toString());
  });

  const samples: Record<string, Found> = {
    '{}': { model: null, stream: false },
    '{"model":"a"}': { model: 'a', stream: false },
    '{"model":"a","model":"b"}': { model: 'b', stream: false },
    '{"model":"a","model":null}': { model: null, stream: false },
    '{"stream":true,"stream":false}': { model: null, stream: false },
    '{"\\u006dodel":"a"}': { model: 'a', stream: false },
    '{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a","s\\u0074ream":true}': { model: 'a', stream: true },
    '{"model":"a","\\u006dodel":"b"}': { model: 'b', stream: false },
    '{"Model":"a","STREAM":true}': { model: null, stream: false },
    '{"model":"a","Model":"b","stream":true}': { model: null, stream: true },
    '{"MODE\\u004c":"b","model":"a"}': { model: null, stream: false },
    '{"model":7}': { model: null, stream: false },
    '{"model":["a"]}': { model: null, stream: false },
    '{"model":{"model":"a"},"x":[{"stream":true}]}': { model: null, stream: false },
    '{"stream":"true"}': { model: null, stream: false },
    '{"stream":1}': { model: null, stream: false },
    '{"__proto__":{"model":"a"}}': { model: null, stream: false },
    '{"model":"\\ud83d\\udd11"}': { model: '\u{1f511}', stream: false },
    '': null,
    ' ': null,
    'null': null,
    '[]': null,
    '"model"': null,
    '{"model":"a"}x': null,
    '{"model":"a"}{}': null,
    '{"model":"a",}': null,
    '{"model" "a"}': null,
    '{model:"a"}': null,
    '{"a":}': null,
    '{"a":[}': null,
    '{"a":[1}': null,
    '{"a":{]}': null,
    '{,}': null,
    '\ufeff{"model":"a"}': null,
    "{'model':'a'}": null,
  };
  for (const [text, expected] of Object.entries(samples)) {
    it(`reads ${JSON.stringify(text)}`, () => {
      const members = scanMembers(Buffer.from(text));
      assert.deepEqual(members && { model: members.model, stream: members.stream }, expected);
    });
  }

  it('gives the place of the model\'s name to the byte', () => {
    const body = Buffer.from('{"ü":1, "model" :\n"größe","x":"model"}');
    const span = scanMembers(body)?.modelSpan;
    assert.ok(span);
    assert.equal(body.subarray(...span).toString(), '"größe"');
  });

  it('takes nesting of any depth and strings of any length without slowing down', () => {
    const since = performance.now();
    const deep = Buffer.from(`{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)},"model":"m"}`);
    assert.equal(scanMembers(deep)?.model, 'm');
    assert.equal(scanMembers(Buffer.from(`{"a":${'['.repeat(1_000_000)}`)), null);
    const long = Buffer.from(`{"a":"${'x'.repeat(8_000_000)}","model":"m"}`);
    assert.equal(scanMembers(long)?.model, 'm');
    for (const body of [`{"a":"${'\\\\'.repeat(500_000)}","model":"m"}`, `{"a":"${'\\"'.repeat(500_000)}","model":"m"}`]) assert.equal(scanMembers(Buffer.from(body))?.model, 'm');
    const keys = Buffer.from(`{${'"\\u0061":1,'.repeat(100_000)}"model":"m"}`);
    assert.equal(scanMembers(keys)?.model, 'm');
    const plain = Buffer.from(`{${'"aaaaaa":"","bbb":1,'.repeat(400_000)}"model":"m"}`);
    assert.equal(scanMembers(plain)?.model, 'm');
    assert.ok(performance.now() - since < 3000, `${performance.now() - since} ms`);
  });
});

describe('formModel', () => {
  const boundary = '----b0undary';
  const type = `multipart/form-data; boundary=${boundary}`;
  const part = (head: string, value: string): string => `--${boundary}\r\n${head}\r\n\r\n${value}\r\n`;
  const form = (...parts: string[]): Buffer => Buffer.from(`${parts.join('')}--${boundary}--\r\n`);
  const field = (name: string, value: string): string => part(`Content-Disposition: form-data; name="${name}"`, value);
  const upload = (content: string): string => part('Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg', content);

  it('finds the field before and behind a file', () => {
    assert.equal(formModel(form(field('model', 'whisper-1'), upload('\x00\xff')), type), 'whisper-1');
    assert.equal(formModel(form(upload('\x00\xff\r\n\r\n--'), field('prompt', 'x'), field('model', 'whisper-1')), type), 'whisper-1');
    assert.equal(formModel(form(field('model', 'größe')), `multipart/form-data; charset=utf-8; boundary="${boundary}"`), 'größe');
  });

  it('takes the first of several, and an empty one for what it is', () => {
    assert.equal(formModel(form(field('model', 'a'), field('model', 'b')), type), 'a');
    assert.equal(formModel(form(field('model', '')), type), '');
  });

  it('finds the field however its part is written', () => {
    assert.equal(formModel(form(part('content-disposition: form-data; name=model', 'a')), type), 'a');
    assert.equal(formModel(form(part('Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"', 'a')), type), 'a');
    assert.equal(formModel(form(part('Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-8', 'a')), type), 'a');
  });

  it('takes nothing from inside a file or another field for it', () => {
    const decoy = 'Content-Disposition: form-data; name="model"\r\n\r\ncheap\r\n';
    assert.equal(formModel(form(upload(decoy), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(upload(`name="model"\r\n\r\ncheap\r\n--other\r\n`), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(field('prompt', 'name="model"\r\n\r\ncheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(part('Content-Disposition: form-data; name="x"; filename="name=\\"model\\""', 'cheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(part('Content-Disposition: form-data; name="model"; filename="m"', 'cheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(part('X-Other: name="model"\r\nContent-Disposition: form-data; name="x"', 'cheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(upload(`\r\n--${boundary}x\r\n${decoy}`), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(Buffer.concat([form(field('x', 'a')), form(field('model', 'cheap'))]), type), null);
    assert.equal(formModel(form(upload(decoy)), type), null);
    assert.equal(formModel(form(field('xmodel', 'a'), field('model2', 'b'), field('Model', 'c')), type), null);
  });

  it('leaves the model untold where a name is written so that only the upstream would read it', () => {
    for (const name of [`name*=utf-8''model`, 'name*0="mo"; name*1="del"', `name="x"; NAME*=utf-8''model`]) {
      assert.equal(formModel(form(part(`Content-Disposition: form-data; ${name}`, 'dear'), field('model', 'cheap')), type), null, name);
    }
    assert.equal(formModel(form(part(`Content-Disposition: form-data; name="model"\r\nX-Long: ${'x'.repeat(5000)}`, 'dear'), field('model', 'cheap')), type), null);
  });

  it('finds none where there is none, or no form', () => {
    const bytes = form(field('model', 'a'));
    assert.equal(formModel(form(field('prompt', 'a')), type), null);
    assert.equal(formModel(bytes, 'multipart/form-data'), null);
    assert.equal(formModel(bytes, 'multipart/form-data; boundary=other'), null);
    assert.equal(formModel(Buffer.alloc(0), type), null);
    assert.equal(formModel(form(field('model', 'x'.repeat(100_000))), type), null);
    for (let end = 0; end < bytes.length; end++) assert.ok([null, 'a'].includes(formModel(bytes.subarray(0, end), type)), `${end}`);
  });

  it('looks through a large upload at once', () => {
    const since = performance.now();
    assert.equal(formModel(form(upload(`--${'\r\n--'.repeat(1_000_000)}`), field('model', 'a')), type), 'a');
    assert.equal(formModel(Buffer.from(`--b${'\r\n--b'.repeat(1_000_000)}`), 'multipart/form-data; boundary=b'), null);
    assert.equal(formModel(Buffer.from(`--b${'\r\n--b\r\n\r\n'.repeat(500_000)}`), 'multipart/form-data; boundary=b'), null);
    assert.ok(performance.now() - since < 2000);
  });
});
