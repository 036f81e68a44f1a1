import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import cors from 'cors';
import { expand } from 'dotenv-expand';
import express, { type NextFunction, type Request, type Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import helmet from 'helmet';
import { createProxyMiddleware } from 'http-proxy-middleware';
import morgan from 'morgan';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { startSpec } from '../ipc.ts';
import { serve, type Spec } from './serve.ts';

/** The eight packages put together by hand, each used as its README shows it. */
const { upstream, dir } = startSpec<Spec>();
const env = expand({ processEnv: {}, parsed: { PORT: String(upstream), UPSTREAM: 'http://127.0.0.1:${PORT}' } }).parsed ?? {};

const registry = new Registry();
const registers = [registry];
const labelNames = ['method', 'route', 'status'] as const;
const duration = new Histogram({ name: 'request_duration_seconds', help: 'Duration', labelNames, registers });
const requestSize = new Histogram({ name: 'request_size_bytes', help: 'Request size', labelNames, buckets: [100, 1e3, 1e4, 1e5, 1e6], registers });
const responseSize = new Histogram({ name: 'response_size_bytes', help: 'Response size', labelNames, buckets: [100, 1e3, 1e4, 1e5, 1e6], registers });
const requests = new Counter({ name: 'requests_total', help: 'Requests', labelNames, registers });
const active = new Gauge({ name: 'active_requests', help: 'Requests in hand', registers });

const line: morgan.FormatFn<Request, Response> = (tokens, req, res) =>
  JSON.stringify({
    time: tokens['date']?.(req, res, 'iso'),
    id: res.getHeader('X-Request-Id'),
    method: tokens['method']?.(req, res),
    url: tokens['url']?.(req, res),
    status: Number(tokens['status']?.(req, res)),
    length: tokens['res']?.(req, res, 'content-length'),
    duration: Number(tokens['response-time']?.(req, res)),
    address: tokens['remote-addr']?.(req, res),
    agent: tokens['user-agent']?.(req, res),
  });

const app = express();
app.use(requestId);
app.use(morgan(line));
app.use(morgan(line, { stream: createWriteStream(join(dir, 'assembled.log'), { flags: 'a', mode: 0o600 }) }));
app.use(measure);
app.use(helmet());
app.use(cors());
app.use(rateLimit({ windowMs: 60_000, limit: 1e9, standardHeaders: 'draft-8', legacyHeaders: false }));
app.use(
  rateLimit({
    windowMs: 60_000,
    limit: 1e9,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    identifier: 'per-key',
    keyGenerator: (req) => req.headers.authorization ?? 'none',
  }),
);
app.get('/metrics', async (_req, res) => void res.type(registry.contentType).send(await registry.metrics()));
app.use(
  createProxyMiddleware({ target: env['UPSTREAM'] ?? '', changeOrigin: false, agent: new http.Agent({ keepAlive: true }) }),
);
serve(http.createServer(app));

function requestId(_req: Request, res: Response, next: NextFunction): void {
  res.setHeader('X-Request-Id', randomUUID());
  next();
}

function measure(req: Request, res: Response, next: NextFunction): void {
  const stop = duration.startTimer();
  active.inc();
  res.on('close', () => {
    const labels = { method: req.method, route: req.path, status: String(res.statusCode) };
    stop(labels);
    requests.inc(labels);
    requestSize.observe(labels, Number(req.headers['content-length'] ?? 0));
    responseSize.observe(labels, Number(res.getHeader('content-length') ?? 0));
    active.dec();
  });
  next();
}
