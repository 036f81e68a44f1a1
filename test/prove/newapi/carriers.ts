import { request } from 'node:http';
import { ADMIN_TOKEN, type Scene } from './scene.ts';

type Row = Readonly<Record<string, string | number>>;

/** A place where a credential can stand. `at` adds it to a request's headers or query. */
interface Carrier {
  readonly name: string;
  readonly at: (key: string) => { readonly header?: readonly [string, string]; readonly query?: string };
}

const carriers: readonly Carrier[] = [
  { name: 'Authorization: Bearer', at: (key) => ({ header: ['Authorization', `Bearer ${key}`] }) },
  { name: 'authorization: bearer', at: (key) => ({ header: ['authorization', `bearer  ${key} `] }) },
  { name: 'Authorization bare', at: (key) => ({ header: ['Authorization', key] }) },
  { name: 'x-api-key', at: (key) => ({ header: ['x-api-key', key] }) },
  { name: 'x-goog-api-key', at: (key) => ({ header: ['x-goog-api-key', key] }) },
  { name: 'query key', at: (key) => ({ query: `key=${key}` }) },
  { name: 'subprotocol whole', at: (key) => ({ header: ['Sec-WebSocket-Protocol', key] }) },
  { name: 'subprotocol part', at: (key) => ({ header: ['Sec-WebSocket-Protocol', `realtime, openai-insecure-api-key.${key}`] }) },
  { name: 'mj-api-secret', at: (key) => ({ header: ['mj-api-secret', key] }) },
];

interface Family {
  readonly name: string;
  readonly path: string;
  readonly body: string;
  readonly type?: string;
}

const messages = [{ role: 'user', content: 'Hello' }];
const gemini = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] });
/** 0.1 s of silence: NewAPI bills by length. */
const wav = ((): string => {
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + 1600, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(8000, 24);
  head.writeUInt32LE(16_000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(1600, 40);
  return head.toString('latin1') + '\0'.repeat(1600);
})();
const form = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + `${wav}\r\n--b--\r\n`;

/** Every family of routes for which NewAPI writes a row of consumption. */
const families: readonly Family[] = [
  { name: 'chat', path: '/v1/chat/completions', body: JSON.stringify({ model: 'gpt-4o-mini', messages }) },
  { name: 'completions', path: '/v1/completions', body: JSON.stringify({ model: 'gpt-4o-mini', prompt: 'Hello' }) },
  { name: 'messages', path: '/v1/messages', body: JSON.stringify({ model: 'gpt-4o-mini', max_tokens: 9, messages }) },
  { name: 'responses', path: '/v1/responses', body: JSON.stringify({ model: 'gpt-4o', input: 'Hello' }) },
  { name: 'embeddings', path: '/v1/embeddings', body: JSON.stringify({ model: 'text-embedding-3-small', input: 'Hello' }) },
  { name: 'gemini v1beta', path: '/v1beta/models/gpt-4o-mini:generateContent', body: gemini },
  { name: 'gemini v1', path: '/v1/models/gpt-4o-mini:generateContent', body: gemini },
  { name: 'transcriptions', path: '/v1/audio/transcriptions', body: form, type: 'multipart/form-data; boundary=b' },
];

/** Every carrier alone and every ordered pair of two, whose second holds another user's token, on every family of routes. */
export async function carriersProof(scene: Scene): Promise<readonly Row[]> {
  const [alice = '', bob = ''] = Object.values(scene.newapi.tokens);
  const rows: Row[] = [];
  for (const family of families) {
    let served = 0;
    let refused = 0;
    const wrong: string[] = [];
    for (const first of carriers) {
      for (const second of [null, ...carriers.filter((each) => each !== first)]) {
        const verdict = await judged(scene, family, [first.at(alice), ...(second === null ? [] : [second.at(bob)])]);
        if (verdict === 'refused') refused++;
        else if (verdict === 'same') served++;
        else wrong.push(`${first.name} + ${second?.name ?? 'nothing'}: ${verdict}`);
      }
    }
    for (const line of wrong) process.stdout.write(`  ${family.name}: ${line}\n`);
    rows.push({ route: family.name, cases: served + refused + wrong.length, 'served, same identity': served, 'refused by both or either': refused, 'another identity': wrong.length });
  }
  return rows;
}

/** Whether the caller NewAPI's own log names is the one the gate recorded. */
async function judged({ newapi, gate }: Scene, family: Family, places: readonly ReturnType<Carrier['at']>[]): Promise<string> {
  const queries = places.flatMap(({ query }) => query ?? []);
  const headers = places.flatMap(({ header }) => (header === undefined ? [] : [header]));
  const path = family.path + (queries.length === 0 ? '' : `?${queries.join('&')}`);
  const answer = await send(gate.url, path, [...headers, ['Content-Type', family.type ?? 'application/json']], family.body);
  if (answer.status >= 400) return 'refused';
  const rid = String(answer.headers['x-oneapi-request-id'] ?? '');
  const id = String(answer.headers['x-request-id'] ?? '');
  const row = await until(() => consumption(newapi, rid));
  const record = await until(() => recorded(gate.url, id));
  if (row === null) return `no row of NewAPI for ${rid} (status ${answer.status})`;
  if (record === null) return `no record for ${id}`;
  const token = newapi.tokens[row.token_name] ?? '';
  return record.token_key?.endsWith(token.slice(-4)) ? 'same' : `NewAPI served ${row.token_name}, the gate recorded ${record.token_key}`;
}

/** NewAPI's own row of a request. */
export async function consumption({ base_url, access_token, user_id }: Scene['newapi'], rid: string): Promise<{ readonly token_name: string; readonly quota: number } | null> {
  const answer = await fetch(`${base_url}/api/log/?request_id=${rid}`, { headers: { Authorization: access_token, 'New-Api-User': String(user_id) } });
  const { data } = (await answer.json()) as { data: { items: { request_id: string; token_name: string; quota: number }[] } };
  return data.items.find(({ request_id }) => request_id === rid) ?? null;
}

/** The gate's record of a request. */
export async function recorded(url: string, id: string): Promise<{ readonly token_key: string | null; readonly cost: number | null } | null> {
  const answer = await fetch(`${url}/heimdall/api/logs/${id}`, { headers: { Authorization: `Bearer ${ADMIN_TOKEN}` } });
  return answer.status === 200 ? ((await answer.json()) as { token_key: string | null; cost: number | null }) : null;
}

/** What a look finds within three seconds. */
export async function until<T>(look: () => Promise<T | null>): Promise<T | null> {
  for (const end = performance.now() + 3000; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 30))) {
    const found = await look();
    if (found !== null) return found;
  }
  return null;
}

/** A request whose headers go out as they are given: `fetch` forbids some of them. */
export function send(base: string, path: string, headers: readonly (readonly [string, string])[], body: string, method = 'POST'): Promise<{ readonly status: number; readonly headers: Readonly<Record<string, unknown>>; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; headers: Record<string, unknown>; text: string }>();
  const { hostname, port } = new URL(base);
  const asked = request({ hostname, port, path, method, headers: [...headers.flat(), 'Host', `${hostname}:${port}`, ...(body === '' ? [] : ['Content-Length', String(body.length)])] }, (res) => {
    const chunks: Buffer[] = [];
    res.on('data', (chunk: Buffer) => void chunks.push(chunk)).on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() }));
    res.on('error', reject);
  });
  asked.on('error', reject).end(body, 'latin1');
  return promise;
}
