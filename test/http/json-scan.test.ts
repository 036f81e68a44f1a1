import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { MemberScan, outlineKinds, scanMembers } from '../../lib/http/json-scan.ts';
import { RequestBody } from '../../lib/http/request-body.ts';
import { generator } from '../support/random.ts';

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

  it('reads as many levels as Go, which NewAPI is written in, and no more', () => {
    const nested = (levels: number, open = '[', close = ']'): Buffer => Buffer.from(`{"a":${open.repeat(levels)}${close.repeat(levels)},"model":"m"}`);
    assert.equal(scanMembers(nested(9999))?.model, 'm');
    assert.equal(scanMembers(nested(10_000)), null);
    assert.equal(scanMembers(Buffer.from(`{"a":[${`${'['.repeat(9000)}${']'.repeat(9000)},`.repeat(3)}1],"model":"m"}`))?.model, 'm');
  });

  it('reads no more than a thousand members of the first level, and says so', () => {
    const members = (count: number): Buffer => Buffer.from(`{"model":"m"${',"n1":1'.repeat(count - 1)}}`);
    assert.equal(scanMembers(members(1000))?.wrong, null);
    for (const body of [members(1001), members(1_000_000), members(2000).subarray(0, 9000)]) {
      assert.deepEqual(scanMembers(body)?.wrong, { field: 'body', expected: 'a JSON object of at most 1000 members', got: 'more' });
    }
    assert.equal(scanMembers(Buffer.from(`{"messages":[${'{"a":1,"b":2},'.repeat(5000)}{}],"model":"m"}`))?.wrong, null);
  });

  it('takes nesting and strings of any length in time linear to them: a square of it would outlast every test', () => {
    assert.equal(scanMembers(Buffer.from(`{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)},"model":"m"}`)), null);
    assert.equal(scanMembers(Buffer.from(`{"a":${'['.repeat(1_000_000)}`)), null);
    const long = Buffer.from(`{"a":"${'x'.repeat(8_000_000)}","model":"m"}`);
    assert.equal(scanMembers(long)?.model, 'm');
    for (const body of [`{"a":"${'\\\\'.repeat(500_000)}","model":"m"}`, `{"a":"${'\\"'.repeat(500_000)}","model":"m"}`]) assert.equal(scanMembers(Buffer.from(body))?.model, 'm');
    const plain = Buffer.from(`{"a":{${'"aaaaaa":"","bbb":1,'.repeat(400_000)}"ccc":1},"model":"m"}`);
    assert.equal(scanMembers(plain)?.model, 'm');
  });
});

describe('scanMembers, whatever is written', () => {
  const spelled = fc.constantFrom('model', 'stream', 'max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n', 'best_of', 'Model', 'STREAM', 'Max_Tokens', 'ſtream', 'max_to\u212aens', 'messages', '__proto__', '');
  const name = fc.oneof({ weight: 3, arbitrary: spelled }, { weight: 1, arbitrary: fc.string({ unit: 'binary' }) });
  const value = fc.oneof({ weight: 2, arbitrary: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true })) }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) });
  const escaped = (text: string): string => `"${[...text].map((char) => (char.length > 1 ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)).join('')}"`;
  /** Members as text, in order, names twice and escaped included. */
  const members = fc.array(fc.tuple(name, value, fc.boolean(), fc.constantFrom('', ' ', '\n\t')), { maxLength: 8 });
  const written = (list: readonly (readonly [string, unknown, boolean, string])[]): string =>
    `{${list.map(([key, of, escape, space]) => `${space}${escape ? escaped(key) : JSON.stringify(key)}${space}:${space}${JSON.stringify(of)}`).join(',')}}`;

  const fold = (key: string): string => key.toLowerCase().toUpperCase();
  const control = new Set(['model', 'stream', 'max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n', 'best_of'].map(fold));
  const isCount = (of: unknown): of is number => typeof of === 'number' && Number.isInteger(of) && of >= 0 && !Object.is(of, -0);

  it('reads what JSON.parse reads, and sees every name that another reader may take for the same', () => {
    fc.assert(fc.property(members, (list) => {
      const text = written(list);
      const found = scanMembers(Buffer.from(text));
      assert.ok(found, text);
      const parsed = JSON.parse(text) as Record<string, unknown>;
      const own = (key: string): unknown => (Object.hasOwn(parsed, key) ? parsed[key] : undefined);
      // What the scanner sees is what UTF-8 carries: a lone surrogate is not among it.
      const keys = list.map(([key]) => key);
      const meant = keys.filter((key) => control.has(fold(key)));
      const ambiguous = meant.some((key) => key !== key.toLowerCase() || !/^[a-z_]+$/.test(key)) || new Set(meant).size < meant.length;
      assert.equal(found.ambiguous, ambiguous, text);
      const variant = keys.some((key) => fold(key) === 'MODEL' && key !== 'model');
      const model = own('model');
      assert.equal(found.model, !variant && typeof model === 'string' ? model : null, text);
      assert.equal(found.stream, own('stream') === true, text);
    }), { numRuns: 1000 });
  });

  it('takes the largest of the bounds, and 0 and null for none', () => {
    const bound = fc.constantFrom('max_tokens', 'max_completion_tokens', 'max_output_tokens');
    fc.assert(fc.property(fc.uniqueArray(fc.tuple(bound, fc.oneof(fc.nat({ max: 2 ** 30 - 1 }), fc.constant(null))), { selector: ([key]) => key }), fc.constantFrom('', '.0', 'e0', 'E+0'), (list, tail) => {
      const text = `{${list.map(([key, of]) => `"${key}":${of === null ? 'null' : `${of}${tail}`}`).join(',')}}`;
      const found = scanMembers(Buffer.from(text));
      const largest = Math.max(0, ...list.map(([, of]) => of ?? 0));
      assert.deepEqual([found?.maxTokens, found?.wrong], [largest === 0 ? null : largest, null], text);
    }));
  });

  it('calls wrong what is no count, and nothing else', () => {
    fc.assert(fc.property(value, (of) => {
      const found = scanMembers(Buffer.from(JSON.stringify({ max_tokens: of })));
      assert.equal(found?.wrong === null, of === null || of === -1 || (isCount(of) && of < 2 ** 30) || Object.is(of, -0), JSON.stringify(of));
      const model = scanMembers(Buffer.from(JSON.stringify({ model: of })));
      assert.equal(model?.wrong === null, of === null || typeof of === 'string', JSON.stringify(of));
    }));
  });

  it('throws at nothing, and finds an object wherever JSON.parse does', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)), fc.string({ unit: fc.constantFrom(...'{}[]",:\\ntrue0-e. \u0000é') }).map((text) => Buffer.from(text))), (bytes) => {
      agree(bytes);
    }), { numRuns: 2000 });
  });
});

describe('a scan of a body that comes in pieces', () => {
  /** @param cuts where the body is cut. */
  function scanned(bytes: Buffer, cuts: readonly number[]) {
    const body = new RequestBody(0);
    const scan = new MemberScan(body);
    const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
    for (let nth = 1; nth < at.length; nth++) {
      const piece = bytes.subarray(at[nth - 1], at[nth]);
      body.push(piece);
      scan.push(piece);
    }
    const members = scan.end();
    return { members, outline: members === null ? null : scan.outline() };
  }

  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('\\', '"', 'a', '{', ']', 'é') }), fc.string({ unit: fc.constantFrom('\\', '"', 'word '), minLength: 40, maxLength: 200 }));
  const name = fc.oneof(fc.constantFrom('model', 'stream', 'max_tokens', 'messages', 'input', 'system', 'tools', 'Model', 'n'), text);
  const document = fc.array(fc.tuple(name, fc.oneof(text, fc.jsonValue({ maxDepth: 4 }), fc.array(fc.record({ role: text, content: text })))), { maxLength: 8 })
    .map((members) => Buffer.from(`{${members.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(' ,')}}`));
  const damaged = fc.tuple(document, fc.nat(), fc.constantFrom('', '"', '\\', '}', ',', 'x')).map(([bytes, at, put]) => {
    const place = at % (bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, place), Buffer.from(put), bytes.subarray(place + 1)]);
  });

  it('finds wherever it is cut what it finds in one piece, and an object exactly where there is one', () => {
    fc.assert(fc.property(fc.oneof(document, damaged), fc.array(fc.nat(), { maxLength: 12 }), (bytes, cuts) => {
      const whole = scanned(bytes, []);
      assert.deepEqual(scanned(bytes, cuts), whole);
      assert.deepEqual(scanned(bytes, Array.from(bytes, (_, at) => at)), whole);
    }), { numRuns: 400 });
    fc.assert(fc.property(document, (bytes) => assert.ok(scanMembers(bytes))));
  });

  const long = 'w'.repeat(2000);
  const outlines: readonly (readonly [string, object, readonly (readonly [keyof typeof outlineKinds, unknown])[]])[] = [
    ['chat', { model: 'm', messages: [{ role: 'system', content: long }, { role: 'user', content: 'x' }, { role: 'user', content: 'now' }], tools: [{ a: [1] }] },
      [['turn', { role: 'system', content: long }], ['list', [{ role: 'system', content: long }, { role: 'user', content: 'x' }, { role: 'user', content: 'now' }]], ['tools', [{ a: [1] }]], ['newest', { role: 'user', content: 'now' }]]],
    ['messages', { system: [{ text: long }], messages: [{ role: 'user', content: [{ text: 'a"]}' }] }], tools: [] }, [['constant', [{ text: long }]], ['list', [{ role: 'user', content: [{ text: 'a"]}' }] }]], ['tools', []], ['newest', { role: 'user', content: [{ text: 'a"]}' }] }]]],
    ['responses', { instructions: 'be brief', input: [{ content: [{ text: long }] }, { content: 'b' }] }, [['constant', 'be brief'], ['turn', { content: [{ text: long }] }], ['list', [{ content: [{ text: long }] }, { content: 'b' }]], ['newest', { content: 'b' }]]],
    ['a text as input', { input: 'a question' }, [['list', 'a question'], ['newest', 'a question']]],
    ['Gemini', { contents: [{ parts: [{ text: 'q' }] }], systemInstruction: { parts: [] } }, [['list', [{ parts: [{ text: 'q' }] }]], ['constant', { parts: [] }], ['newest', { parts: [{ text: 'q' }] }]]],
    ['completions', { prompt: 'once', stream: true }, [['list', 'once'], ['newest', 'once']]],
    ['no list', { model: 'm', query: 'q', documents: ['a'] }, []],
    ['an empty list', { messages: [] }, [['list', []]]],
    ['members of the names deeper down', { metadata: { messages: [{ a: 1 }], tools: [] } }, []],
    ['texts in a list', { input: ['a', 'b'] }, [['list', ['a', 'b']]]],
  ];
  for (const [kind, body, parts] of outlines) {
    it(`outlines ${kind}`, () => {
      const bytes = Buffer.from(JSON.stringify(body));
      const { outline } = scanned(bytes, [7, 30, 99]);
      assert.ok(outline);
      const found = Array.from({ length: outline.length / 3 }, (_, nth) => [outline[nth * 3], JSON.parse(bytes.toString('utf8', outline[nth * 3 + 1], outline[nth * 3 + 2]))]);
      assert.deepEqual(found, parts.map(([part, value]) => [outlineKinds[part], value]));
    });
  }

  it('outlines no more parts than a bound, however many there are', () => {
    const turn = JSON.stringify({ content: 'w'.repeat(1100) });
    const bytes = Buffer.from(`{"messages":[${`${turn},`.repeat(600)}${turn}]${',"tools":[]'.repeat(100)}}`);
    const { outline } = scanned(bytes, []);
    assert.equal((outline?.length ?? 0) / 3, 256 + 16 + 1);
  });
});
