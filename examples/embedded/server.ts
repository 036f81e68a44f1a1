// An application with routes, a body parser, sockets and errors of its own, and the gate among them.
// Outside this repository, import from 'express-heimdall'.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler } from 'express';
import { WebSocketServer } from 'ws';
import { heimdall, keepRawBody, loadConfig } from '../../lib/index.ts';

const mount = process.argv[2] ?? '/';

const gate = heimdall(loadConfig()); // HEIMDALL_CONFIG and the environment; or pass the options here, then nothing else counts
const app = express();

// A parser in front of the gate keeps the bytes as they came, and takes bodies as large as models do.
app.use(express.json({ verify: keepRawBody, limit: '32mb' }));
app.get('/hello', (_req, res) => void res.json({ hello: 'from the application' }));
app.post('/echo', (req, res) => void res.json(req.body));
app.get('/fail', () => {
  throw new Error('this route always fails');
});

app.use(mount, gate); // at '/' it comes last: what the application does not know is NewAPI's

app.use((_req, res) => void res.status(404).json({ message: 'not found here' }));
app.use(((error, _req, res, _next) => {
  res.status(error.status ?? 500).json({ message: error instanceof Error ? error.message : 'failed' });
}) satisfies ErrorRequestHandler);

const server = createServer({ maxHeaderSize: gate.config.server.maxHeaderBytes }, app);
gate.attach(server); // WebSockets to the gate, below whatever path it is mounted

const chat = new WebSocketServer({ noServer: true });
server.on('upgrade', (req, socket, head) => {
  if (req.url !== '/chat') return; // another listener's, perhaps the gate's
  chat.handleUpgrade(req, socket, head, (peer) => peer.on('message', (data) => peer.send(`chat: ${String(data)}`)));
});

server.listen(gate.config.server.port, gate.config.server.host, () => {
  const { port } = server.address() as AddressInfo;
  process.stderr.write(`The application listens on http://127.0.0.1:${port}, its gate at ${mount}\n`);
});

process.once('SIGTERM', async () => {
  for (const peer of chat.clients) peer.terminate();
  await gate.close(); // what the gate has in hand finishes first
  server.close();
  server.closeAllConnections();
});
