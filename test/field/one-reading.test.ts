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
