import type { RequestListener } from 'node:http';
import type { Dispatcher } from 'undici';

/** Stands in everything a caller makes up, so that it can be looked for. */
export const MARK = 'zqx';

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PURGE'];
const stems = ['/v1/chat/completions', '/v1/completions', '/v1/messages', '/v1/embeddings', '/v1/images/#', '/v1/models', '/v1/models/#', '/v1/#', '/v1beta/#', '/api/#', '/#', '/mj/#', '/#/mj/#', '/suno/#', '/health', '/metrics', '/heimdall/api/#'];
/** 401 stands for a request without a key. */
const statuses = [200, 200, 404, 500, 401];

/** How many kinds of requests {@link noise} tells apart. */
export const kinds = methods.length * stems.length * statuses.length;

/** One request of an attacker on the metrics: path, query, key, model and agent are made up, and the status is chosen. */
export function noise(random: (bound: number) => number, at: number = random(kinds)): Dispatcher.RequestOptions {
  const word = (): string => `${MARK}${random(1_000_000_000).toString(36)}`;
  const method = methods[at % methods.length] as string;
  const stem = stems[Math.floor(at / methods.length) % stems.length] as string;
  const status = statuses[Math.floor(at / methods.length / stems.length)] as number;
  const path = `${stem.replaceAll('#', word)}${random(2) ? `?${word()}=${word()}` : ''}`;
  const key = status === 401 ? {} : { authorization: `Bearer sk-${word()}`, 'x-api-key': word() };
  const headers = { ...key, 'x-answer': String(status), 'user-agent': word(), 'x-forwarded-for': `203.0.113.${random(256)}`, 'content-type': 'application/json' };
  const body = method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? null : JSON.stringify({ model: word(), stream: at % 2 === 1, messages: [{ role: 'user', content: word() }] });
  return { method: method as Dispatcher.HttpMethod, path, headers, body };
}

const usage = { prompt_tokens: 40, completion_tokens: 11 };

/** Answers as the request says, signed as NewAPI does. */
export const obliging: RequestListener = (req, res) => {
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => void chunks.push(chunk)).on('end', () => {
    const status = Number(req.headers['x-answer'] ?? 200);
    const signed = { 'X-Oneapi-Request-Id': 'r' };
    if (status === 200 && String(Buffer.concat(chunks)).includes('"stream":true')) {
      res.writeHead(200, { ...signed, 'Content-Type': 'text/event-stream' });
      return res.end(`data: {"choices":[{"delta":{"content":"word"}}]}\n\ndata: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
    }
    res.writeHead(status, { ...signed, 'Content-Type': 'application/json' }).end(JSON.stringify(status === 200 ? { choices: [], usage } : { error: { message: 'as asked' } }));
  });
};

/** Sends requests, so many at a time. */
export async function send(pool: Dispatcher, count: number, next: (nth: number) => Dispatcher.RequestOptions, atOnce = 16): Promise<void> {
  let sent = 0;
  const worker = async (): Promise<void> => {
    while (sent < count) {
      const { body } = await pool.request(next(sent++));
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** Lines of an exposition that are samples. */
export const seriesIn = (text: string): number => text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
