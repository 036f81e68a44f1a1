import http from 'node:http';
import { startSpec } from '../ipc.ts';
import { serve, type Spec } from './serve.ts';

/** The least a proxy can be in plain `node:http`: two pipes and the hop-by-hop headers left out. */
const { upstream } = startSpec<Spec>();
const agent = new http.Agent({ keepAlive: true });
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

const server = http.createServer((req, res) => {
  const { method, url, rawHeaders } = req;
  const outgoing = http.request(
    { agent, host: '127.0.0.1', port: upstream, method, path: url, headers: endToEnd(rawHeaders) },
    (incoming) => {
      res.writeHead(incoming.statusCode ?? 502, endToEnd(incoming.rawHeaders));
      // Else the head of a stream waits for its first chunk.
      res.flushHeaders();
      incoming.pipe(res);
      incoming.on('error', () => res.destroy());
    },
  );
  outgoing.on('error', () => res.destroy());
  res.on('close', () => {
    if (!res.writableFinished) outgoing.destroy();
  });
  req.pipe(outgoing);
});
serve(server);

function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, raw[index + 1] ?? '');
  }
  return kept;
}
