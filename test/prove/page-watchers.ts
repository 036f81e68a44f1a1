import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';

/** What a browser was shown: rows that came before each telling of the rate, and the rates told. */
export interface Shown {
  readonly rows: readonly number[];
  readonly rates: readonly number[];
}

/** What the proof asks of this process, and what it answers: `watching` once all have the stream, then what each was shown. */
export type Asked = { readonly url: string; readonly token: string; readonly readers: number } | 'leave';
export type Answered = 'watching' | readonly Shown[];

/** Browsers that watch the live view, in a process of their own: what they do with it must not delay the clock of the load. */
let watchers: readonly { readonly asked: ClientRequest; readonly shown: Shown }[] = [];

process.on('message', async (message: Asked) => {
  if (message === 'leave') {
    for (const { asked } of watchers) asked.destroy();
    process.send?.(watchers.map(({ shown }) => shown) satisfies Answered);
    return;
  }
  const { url, token, readers } = message;
  watchers = await Promise.all(Array.from({ length: readers }, () => watch(url, token)));
  process.send?.('watching' satisfies Answered);
});
process.on('disconnect', () => process.exit());

/** Reads the event stream as the page does. */
async function watch(url: string, token: string): Promise<(typeof watchers)[number]> {
  const asked = request(`${url}/heimdall/api/events?rows=20&own=false`, { headers: { authorization: `Bearer ${token}` } }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`events: ${answer.statusCode}`);
  const shown = { rows: [] as number[], rates: [] as number[] };
  let rows = 0;
  let rest = '';
  answer.on('error', () => undefined);
  answer.setEncoding('utf8').on('data', (text: string) => {
    const frames = (rest + text).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      const [, name, data = ''] = /^event: (\w+)\ndata: (.*)$/m.exec(frame) ?? [];
      if (name === undefined) continue;
      const event = JSON.parse(data) as { requests: number };
      if (name === 'request') rows++;
      if (name !== 'rate') continue;
      shown.rows.push(rows);
      shown.rates.push(event.requests);
      rows = 0;
    }
  });
  return { asked, shown };
}
