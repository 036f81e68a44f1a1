import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { behind, keyed, listed } from '../middlewares/behind.ts';

const key = { ...listed, models: ['allowed'], upstreamCredential: 'sk-granted-by-newapi' };
const limited = { auth: { mode: 'keys', keys: [key] } } as const;

/** The ways in which servers read the path of a target. */
const readers: Readonly<Record<string, (path: string) => string>> = {
  'decodes once': (path) => decodeURIComponent(path),
  'decodes twice': (path) => decodeURIComponent(decodeURIComponent(path)),
  'decodes, then removes dot segments': (path) => clean(decodeURIComponent(path)),
  'removes dot segments, then decodes': (path) => decodeURIComponent(clean(path.replace(/%2e/gi, '.'))),
  'cuts parameters': (path) => clean(decodeURIComponent(path.replace(/;[^/]*/g, ''))),
  'takes a backslash for a slash': (path) => clean(decodeURIComponent(path).replaceAll('\\', '/')),
};

function clean(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}`;
}

/** The model of a path as NewAPI finds it; null where the path names none. */
const modelOf = (path: string): string | null => /^\/v1(?:beta)?\/models\/([^:]+)/.exec(path)?.[1] ?? null;

describe('a path', () => {
  const act = ':generateContent';
  const spellings = [
    `/v1beta/models/forbidden${act}`,
    `/v1beta/models/allowed/../forbidden${act}`,
    `/v1beta/models/allowed/%2e%2e/forbidden${act}`,
    `/v1beta/models/allowed/.%2E/forbidden${act}`,
    `/v1beta/models/allowed%2f..%2fforbidden${act}`,
    `/v1beta/models/allowed%2F%2e%2e%2Fforbidden${act}`,
    `/v1beta/models/./forbidden${act}`,
    `/v1beta/models//forbidden${act}`,
    `//v1beta/models/forbidden${act}`,
    `/v1beta/models%2fforbidden${act}`,
    `/v1beta%2Fmodels%2Fforbidden${act}`,
    '/v1beta/models/forbidden%3AgenerateContent',
    '/v1beta/models/forbidden%3agenerateContent',
    '/v1beta/models/%66orbidden:generateContent',
    `/v1beta/models/%2566orbidden${act}`,
    `/v1beta/models/allowed/%252e%252e/forbidden${act}`,
    `/v1beta/models/allowed%252f..%252fforbidden${act}`,
    `/v1beta/models/allowed%5c..%5cforbidden${act}`,
    `/v1beta/models/allowed\\..\\forbidden${act}`,
    `/v1beta/models/allowed;/../forbidden${act}`,
    `/v1beta/models/;allowed/forbidden${act}`,
    `/v1beta/models/forbidden;allowed${act}`,
    `/v1beta/models/forbidden%3ballowed${act}`,
    `/v1beta/models/allowed${act}/../forbidden${act}`,
    `/v1beta/models/allowed${act}%2f..%2fforbidden${act}`,
    `/v1beta/models/allowed${act}/..;/forbidden${act}`,
    `/v1beta/models/allowed${act}#/../forbidden${act}`,
    `/v1beta/models/forbidden%23${act}`,
    `/v1beta/models/forbidden%3f${act}`,
    `/v1beta/models/forbidden%00${act}`,
    `/v1beta/models/allowed%00/../forbidden${act}`,
    `/v1beta/models/allowed%c0%ae%c0%ae/forbidden${act}`,
    `/v1beta/models/%c0%ae%c0%ae/models/forbidden${act}`,
    `/v1beta/models/%e0%80%ae%e0%80%ae/forbidden${act}`,
    `/v1beta/models/\xc0\xaf..\xc0\xafforbidden${act}`,
    `/v1beta/x/../models/forbidden${act}`,
    `/v1/models/forbidden${act}`,
    '/v1/models/forbidden%3AgenerateContent',
    `/v1/models/allowed%2f..%2fforbidden${act}`,
    `/assets/%2e%2e/v1beta/models/forbidden${act}`,
    `/assets/..%2fv1beta/models/forbidden${act}`,
    `/assets/..;/v1beta/models/forbidden${act}`,
    `/v1beta;x/models/forbidden${act}`,
    `/;x/v1beta/models/forbidden${act}`,
    `/x%2fy/../v1beta/models/forbidden${act}`,
    `/x%2fy/../../v1beta/models/forbidden${act}`,
    `/x?/../v1beta/models/forbidden${act}`,
    `/v1beta%3f/../models/forbidden${act}`,
  ];

  it('names one model to the gate and to every receiver, or is refused', async (t) => {
    const { ask, seen } = await behind(t, limited);
    for (const target of spellings) {
      const from = seen.length;
      const answer = await ask('/', { target, body: { contents: [] }, headers: keyed });
      const models = seen.slice(from).flatMap(({ url = '' }) => {
        const path = url.split('?', 1)[0] as string;
        return Object.entries(readers).flatMap(([how, read]) => (modelOf(read(path)) === 'forbidden' ? [`${how}: ${url}`] : []));
      });
      assert.deepEqual(models, [], `${target} (${answer.status})`);
      assert.ok(seen.length === from || answer.status === 200);
    }
  });

  it('is sent in the spelling by which it was judged', async (t) => {
    const { ask, seen } = await behind(t, limited);
    const sent: Readonly<Record<string, string>> = {
      '/v1beta/models/allowed:generateContent': '/v1beta/models/allowed:generateContent',
      '/v1beta/models/allowed%3AgenerateContent?alt=sse': '/v1beta/models/allowed:generateContent?alt=sse',
      '/v1beta//models/./allowed:generateContent': '/v1beta/models/allowed:generateContent',
      '/v1beta/models/x/../allowed:generateContent': '/v1beta/models/allowed:generateContent',
      '/v1beta/models/forbidden/%2e%2e/allowed:generateContent?a=%2F..': '/v1beta/models/allowed:generateContent?a=%2F..',
      '/v1beta%2Fmodels%2Fallowed:generateContent': '/v1beta/models/allowed:generateContent',
      '/v1beta/models/%61llowed:countTokens': '/v1beta/models/allowed:countTokens',
    };
    for (const [target, url] of Object.entries(sent)) {
      assert.equal((await ask('/', { target, body: { contents: [] }, headers: keyed })).status, 200, target);
      assert.equal(seen.at(-1)?.url, url);
    }
  });

  it('reaches no route that needs a credential without one, however a receiver reads it', async (t) => {
    const { ask, seen } = await behind(t);
    const targets = [
      '/x;y/../v1/chat/completions', '/v1;x/chat/completions', '/;/v1/chat/completions', '/x%2fy/../v1/chat/completions', '/x%2fy/..%2f../v1/chat/completions', '/..;/v1/chat/completions',
      '/%76%31/chat/completions', '/v1\\chat\\completions', '/x/..%5cv1/chat/completions', '/v1%3bx/chat/completions', '/v1/chat/completions;x=1', '/v1/chat/completions%3fx', '/x%252f..%252fv1/chat/completions',
      '/api/x%2fy/../heimdall/log', '/api/heimdall;x/log', '/api;x/heimdall/log', '/x%2fy/../api/heimdall/log', '/api/%2568eimdall/log',
    ];
    for (const target of targets) {
      const answer = await ask('/', { target, body: { model: 'allowed' } });
      assert.ok([400, 401, 404].includes(answer.status), `${target}: ${answer.status}`);
    }
    assert.deepEqual(seen.map(({ url }) => url), []);
  });

  it('of a page or an API call goes on as it came', async (t) => {
    const { ask, seen } = await behind(t, limited);
    const targets = ['/a//b/../c%2Fd:e?x=//', '/api/a%2Fb/../c//d/%E4%B8%AD?q=%00&', '/assets/a;v=1.js', '/console/%3Fx', '/api/user/self?a=%zz', '/p%20q/%7Euser', '/api/./status'];
    for (const target of targets) {
      assert.equal((await ask('/', { target })).status, 200, target);
      assert.equal(seen.at(-1)?.url, target);
    }
  });
});


const real = `sk-${'R3alT0ken'.repeat(6).slice(0, 48)}`;
const decoy = `sk-${'D3coyT0k'.repeat(6)}`;

describe('a credential', () => {
  const chat = '/v1/chat/completions';
  const claude = '/v1/messages';
  const gemini = '/v1beta/models/gemini:generateContent';
  /** Path and headers in which NewAPI takes the decoy, or in which the gate leaves it no other choice. */
  const mixed: readonly (readonly [path: string, sent: Record<string, string>])[] = [
    [chat, { Authorization: `Bearer ${real}`, 'Sec-WebSocket-Protocol': decoy }],
    [chat, { Authorization: `Bearer ${real}`, 'Sec-WebSocket-Protocol': `openai-insecure-api-key.${decoy}` }],
    [chat, { Authorization: `Bearer ${real}`, 'Sec-WebSocket-Protocol': `${decoy.slice(3)}-1` }],
    [chat, { Authorization: `Bearer ${decoy}`, 'Sec-WebSocket-Protocol': `realtime, ${real}` }],
    [chat, { Authorization: decoy, 'x-api-key': real, 'x-goog-api-key': real, 'mj-api-secret': real }],
    [chat, { Authorization: `BEARER ${decoy}`, 'mj-api-secret': real }],
    [chat, { Authorization: 'midjourney-proxy', 'mj-api-secret': decoy, 'x-api-key': real }],
    [`${chat}?key=${real}`, { Authorization: `Bearer ${decoy}` }],
    [claude, { Authorization: `Bearer ${real}`, 'x-api-key': decoy }],
    [claude, { Authorization: `Bearer ${real}`, 'x-api-key': decoy, 'Sec-WebSocket-Protocol': real }],
    [claude, { 'x-api-key': decoy, 'x-goog-api-key': real, 'mj-api-secret': real }],
    [gemini, { Authorization: `Bearer ${real}`, 'x-goog-api-key': decoy }],
    [`${gemini}?key=${real}`, { 'x-goog-api-key': decoy }],
    [`${gemini}?key=${decoy}&key=${real}`, { Authorization: `Bearer ${real}` }],
    [`${gemini}?a=1;key=${real}&key=${decoy}`, { Authorization: `Bearer ${real}` }],
    [`${gemini}?%6bey=${decoy}&key=${real}`, { 'Sec-WebSocket-Protocol': real }],
    [`/v1beta/openai/chat/completions?key=${real}`, { 'x-goog-api-key': decoy, Authorization: real }],
    ['/v1/models/gpt-4o:generateContent', { Authorization: real, 'x-api-key': real, 'x-goog-api-key': decoy }],
    ['/mj/submit/imagine', { Authorization: 'midjourney-proxy', 'mj-api-secret': decoy, 'x-api-key': real }],
    ['/mj/submit/imagine', { Authorization: real, 'mj-api-secret': real, 'Sec-WebSocket-Protocol': decoy }],
    ['/suno/submit/music', { Authorization: `bearer ${real}`, 'Sec-WebSocket-Protocol': `x, openai-insecure-api-key.${decoy}` }],
  ];

  it('is sent alone: what the receiver might prefer is taken away', async (t) => {
    const { ask, seen } = await behind(t);
    for (const [path, sent] of mixed) {
      const from = seen.length;
      await ask(path, { body: { model: 'gpt-4o', contents: [] }, headers: sent });
      const [request] = seen.slice(from);
      assert.ok(request !== undefined, `${path} ${JSON.stringify(sent)}`);
      const { 'user-agent': _, ...received } = request.headers;
      const text = `${request.url} ${JSON.stringify(received)}`;
      assert.ok(text.includes(decoy.slice(3)), `${path} ${JSON.stringify(sent)}: ${text}`);
      assert.ok(!text.includes(real.slice(3)), `${path} ${JSON.stringify(sent)}: ${text}`);
      assert.equal(request.headers['sec-websocket-protocol'], undefined);
    }
  });

  it('arrives where NewAPI reads it, in a form that it reads', async (t) => {
    const { ask, seen } = await behind(t);
    const arrives: readonly (readonly [path: string, sent: Record<string, string>, name: string, value: string])[] = [
      [chat, { Authorization: `Bearer ${real}` }, 'authorization', `Bearer ${real}`],
      [chat, { Authorization: `bearer ${real}` }, 'authorization', `bearer ${real}`],
      [chat, { Authorization: real }, 'authorization', real],
      [chat, { Authorization: `BEARER ${real}` }, 'authorization', `Bearer ${real}`],
      [chat, { Authorization: `Bearer   ${real}` }, 'authorization', `Bearer ${real}`],
      [claude, { 'X-Api-Key': real }, 'x-api-key', real],
      [claude, { 'X-Api-Key': `Bearer ${real}` }, 'x-api-key', real],
      [gemini, { 'x-goog-api-key': real }, 'x-goog-api-key', real],
      ['/v1beta/openai/chat/completions', { 'x-goog-api-key': real }, 'authorization', `Bearer ${real}`],
      [`/v1beta/files?key=${real}`, {}, 'authorization', `Bearer ${real}`],
      ['/mj/submit/imagine', { 'mj-api-secret': real }, 'mj-api-secret', real],
    ];
    for (const [path, sent, name, value] of arrives) {
      await ask(path, { body: { model: 'gpt-4o' }, headers: sent });
      assert.equal(seen.at(-1)?.headers[name], value, `${path} ${JSON.stringify(sent)}`);
    }
  });
});

describe('a form', () => {
  const audio = '/v1/audio/transcriptions';
  const head = (name: string): string => `Content-Disposition: form-data; name="${name}"`;
  const part = (first: string, value: string, b = 'b'): string => `--${b}\r\n${first}\r\n\r\n${value}\r\n`;
  const end = '--b--\r\n';
  const good = part(head('model'), 'allowed');
  const bad = part(head('model'), 'forbidden');
  const file = part(`${head('file')}; filename="a.mp3"\r\nContent-Type: audio/mpeg`, 'x');
  const type = 'multipart/form-data; boundary=b';
  /** Spellings that a lax parser and Go read in different ways. */
  const odd: readonly (readonly [what: string, body: string, type?: string])[] = [
    ['two models', good + bad + end],
    ['two models, the other way', bad + good + end],
    ['a model in other letters', good + part(head('Model'), 'forbidden') + end],
    ['a long s', good + part(head('ModeL'), 'forbidden') + end],
    ['an encoded name', good + part("Content-Disposition: form-data; name*=utf-8''model", 'forbidden') + end],
    ['a name in pieces', good + part('Content-Disposition: form-data; name*0="mod"; name*1="el"', 'forbidden') + end],
    ['a name twice', part('Content-Disposition: form-data; name="model"; name="x"', 'forbidden') + good + end],
    ['a file name behind the model', part(`${head('model')}; filename*=utf-8''a`, 'allowed') + bad + end],
    ['a disposition twice', part(`${head('x')}\r\n${head('model')}`, 'forbidden') + good + end],
    ['a folded line', part('Content-Disposition: form-data;\r\n name="model"', 'forbidden') + good + end],
    ['an escaped name', good + part('Content-Disposition: form-data; name="mod\\el"', 'forbidden') + end],
    ['a name in single quotes', part("Content-Disposition: form-data; name='model'", 'forbidden') + good + end],
    ['a name in single quotes alone', part("Content-Disposition: form-data; name='model'", 'allowed') + end],
    ['a name in both quotes', part(`Content-Disposition: form-data; name="'model'"`, 'forbidden') + good + end],
    ['a boundary in single quotes', (good + end).replaceAll('--b', "--'b'"), "multipart/form-data; boundary='b'"],
    ['a preamble', `${good}\r\n${bad}${end}`.replace('--b', 'x\r\n--b')],
    ['a preamble with a form', `--c\r\n${good}${bad}${end}`],
    ['no closing boundary', good + bad.slice(0, -2)],
    ['an epilogue', `${good}${end}${bad}${end}`],
    ['line feeds alone', (good + bad + end).replaceAll('\r\n', '\n')],
    ['a line feed before a boundary', good.replace('allowed\r\n', `allowed\n`) + bad + end],
    ['space behind a boundary', bad.replace('--b\r\n', '--b \r\n') + good + end],
    ['a boundary within a line', part(head('prompt'), `x --b\r\n${head('model')}\r\n\r\nforbidden`) + good + end],
    ['a longer boundary', part(head('prompt'), `x\r\n--bb\r\n${head('model')}\r\n\r\nforbidden`) + good + end],
    ['an encoded value', part(`${head('model')}\r\nContent-Transfer-Encoding: quoted-printable`, '=66orbidden') + end],
    ['a base64 value', part(`${head('model')}\r\nContent-Transfer-Encoding: base64`, 'YWxsb3dlZA==') + end],
    ['another charset', part(`${head('model')}\r\nContent-Type: text/plain; charset=utf-16`, 'allowed') + end],
    ['two boundaries', good + end, 'multipart/form-data; boundary=b; boundary=c'],
    ['an encoded boundary', good + end, "multipart/form-data; boundary=b; boundary*=utf-8''c"],
    ['a type in other letters', good + end, 'Multipart/Form-Data; boundary=b'],
    ['a boundary with an escape', good + end, 'multipart/form-data; boundary="\\b"'],
    ['no boundary', good + end, 'multipart/form-data'],
    ['another multipart', good + end, 'multipart/mixed; boundary=b'],
  ];

  it('on which parsers disagree is refused', async (t) => {
    const { ask, seen } = await behind(t, limited);
    for (const [what, body, sent = type] of odd) {
      const { status } = await ask(audio, { method: 'POST', body: Buffer.from(body), headers: { ...keyed, 'Content-Type': sent } });
      assert.ok([400, 403, 415].includes(status), `${what}: ${status}`);
    }
    assert.equal(seen.length, 0);
  });

  it('that clients write is read', async (t) => {
    const { ask, seen } = await behind(t, limited);
    const fine: readonly (readonly [body: string, type: string])[] = [
      [good + file + end, type], [file + good + end.trimEnd(), type], [good + end, 'multipart/form-data; boundary="b"'], [good + end, 'multipart/form-data; charset=utf-8; boundary=b'],
      [part('content-disposition: form-data; name=model', 'allowed') + end, type], [part(`${head('file')}; filename*=utf-8''%C3%A4.mp3`, '--c\r\n') + good + end, type],
      [part(`${head('model')}\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 7`, 'allowed') + end, type], [(good + end).replaceAll('--b', '--a/json'), 'multipart/form-data; boundary="a/json"'],
    ];
    for (const [body, sent] of fine) {
      const answer = await ask(audio, { method: 'POST', body: Buffer.from(body), headers: { ...keyed, 'Content-Type': sent } });
      assert.equal(answer.status, 200, `${sent} ${body} ${answer.text}`);
      assert.equal(seen.at(-1)?.headers['content-type'], sent);
    }
    assert.equal((await ask(audio, { method: 'POST', body: Buffer.from(bad + end), headers: { ...keyed, 'Content-Type': type } })).status, 403);
  });
});

describe('a content type', () => {
  const chat = '/v1/chat/completions';
  const body = Buffer.from('{"model":"allowed","messages":[]}');

  it('of JSON arrives as the one that NewAPI reads', async (t) => {
    const { ask, seen } = await behind(t, limited);
    const sent: Readonly<Record<string, string>> = {
      'application/json': 'application/json', 'application/json; charset=utf-8': 'application/json; charset=utf-8', 'application/json;charset=UTF-8': 'application/json;charset=UTF-8',
      'Application/JSON': 'application/json', 'application/json; x=multipart/form-data': 'application/json', 'application/json ; charset="utf-8"': 'application/json', 'application/json; charset=utf-16': 'application/json',
      'application/vnd.api+json': 'application/json', 'text/json': 'application/json', 'application/json, text/plain': '', 'application/json; boundary=x': 'application/json',
    };
    for (const [type, arrives] of Object.entries(sent)) {
      const answer = await ask(chat, { method: 'POST', body, headers: { ...keyed, 'Content-Type': type } });
      assert.equal(answer.status, arrives === '' ? 415 : 200, type);
      if (arrives !== '') assert.equal(seen.at(-1)?.headers['content-type'], arrives);
    }
    assert.equal((await ask(chat, { method: 'POST', body, headers: keyed })).status, 200);
    assert.equal(seen.at(-1)?.headers['content-type'], 'application/json');
  });

  it('of anything else is refused, whatever its parameters say', async (t) => {
    const { ask, seen } = await behind(t, limited);
    for (const type of ['multipart/form-data; boundary="a/json"', 'multipart/form-data; boundary=a+json', 'text/plain; x=application/json', 'application/x-www-form-urlencoded', 'application/x-www-form-urlencoded; a="/json"', 'text/plain', 'application/jsonx', 'application/json/x', 'x application/json', '*/*', 'json']) {
      assert.equal((await ask(chat, { method: 'POST', body, headers: { ...keyed, 'Content-Type': type } })).status, 415, type);
    }
    assert.equal(seen.length, 0);
  });
});
