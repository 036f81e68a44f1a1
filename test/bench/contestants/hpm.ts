import http from 'node:http';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';
import { startSpec } from '../ipc.ts';
import { serve, type Spec } from './serve.ts';

/** Bare http-proxy-middleware on Express: the unit every ratio is given in. */
const { upstream } = startSpec<Spec>();
const app = express();
app.use(
  createProxyMiddleware({
    target: `http://127.0.0.1:${upstream}`,
    changeOrigin: false,
    agent: new http.Agent({ keepAlive: true }),
  }),
);
serve(http.createServer(app));
