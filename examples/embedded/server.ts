// An application with routes, a body parser, sockets and errors of its own, and the gate among them.
// Outside this repository, import from 'express-heimdall'.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler, type Request } from 'express';
import { WebSocketServer } from 'ws';
import { heimdall, keepRawBody } from '../../lib/index.ts';

const mount = process.argv[2] ?? '/';

// The application's own logins; express-session or passport would keep them in a store.
const sessions = new Map<string, { readonly id: string; readonly group: string }>();
const sessionOf = (req: Request) => sessions.get(/(?:^|; )session=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1] ?? '') ?? null;

// HEIMDALL_CONFIG and the environment count beside the options, since `environment` says so. Who has logged in calls models without a key of its own:
// NewAPI gets the token of NEWAPI_TOKEN in place of the cookie. Everyone else needs a key as ever.
const gate = heimdall({ auth: { upstreamCredential: process.env['NEWAPI_TOKEN'] ?? null } }, {
  environment: true,
  identify(req: Request) {
    const user = sessionOf(req);
    return user && { ...user, requests: { limit: 60, window: '1m' } };
  },
});
const app = express();

// A parser in front of the gate keeps the bytes as they came, and takes bodies as large as models do.
app.use(express.json({ verify: keepRawBody, limit: '32mb' }));
app.post('/login', (req, res) => {
  const session = randomUUID();
  sessions.set(session, { id: String(req.body.user), group: 'staff' }); // after checking a password
  res.cookie('session', session, { httpOnly: true, sameSite: 'lax' }).sendStatus(204);
});
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
