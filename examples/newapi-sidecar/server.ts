// A sidecar of NewAPI: one Express application that serves NewAPI through the gate and, to NewAPI's own administrators,
// the gate's admin API. Outside this repository, import from 'express-heimdall'.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type RequestHandler } from 'express';
import { heimdall } from '../../lib/index.ts';

const gate = heimdall({ admin: { auth: 'host' } }, { environment: true }); // the rest comes from HEIMDALL_CONFIG and the environment
const { newapi, server: listen } = gate.config;

/** Role of an administrator in NewAPI; the owner has 100. */
const administrator = 10;

/** The login that exists already: NewAPI says who asks, by its session or an access token. */
const administrators: RequestHandler = async (req, res, next) => {
  const { cookie = '', authorization = '', 'new-api-user': user = '' } = req.headers;
  const known = await fetch(`${newapi.baseUrl}/api/user/self`, {
    headers: { cookie, authorization, 'new-api-user': String(user) },
    redirect: 'error',
    signal: AbortSignal.timeout(5000),
  }).then((answer) => answer.json() as Promise<{ success?: boolean; data?: { role?: number } }>, () => null);
  if (known === null) return void res.status(502).json({ message: 'NewAPI does not answer.' });
  if (known.success === true && (known.data?.role ?? 0) >= administrator) return next();
  res.status(403).json({ message: 'For administrators of NewAPI.' });
};

const app = express();
app.disable('x-powered-by');
app.use('/gate', administrators, gate.admin); // before the gate, which takes whatever is left
app.use('/gate', (_req, res) => void res.status(404).json({ message: 'not found here' }));
app.use(gate);

const server = createServer({ maxHeaderSize: listen.maxHeaderBytes }, app);
gate.attach(server);
server.listen(listen.port, listen.host, () => {
  const { port } = server.address() as AddressInfo;
  process.stderr.write(`The sidecar listens on http://127.0.0.1:${port}, in front of ${newapi.baseUrl}\n`);
});

process.once('SIGTERM', async () => {
  server.close();
  await gate.close(); // what it has in hand finishes first
  server.closeAllConnections();
});
