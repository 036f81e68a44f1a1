import { createHash } from 'node:crypto';

import { head, sendJson, sendPacked, withinLimit } from './exchange.ts';
import type { Exchange, Route } from './state.ts';

const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>NewAPI stand-in</title><script type="module" src="/assets/app.js"></script></head>
<body><main id="root"><h1>NewAPI stand-in</h1><p>This page stands for the web UI: what reaches it came through the gate.</p></main></body>
</html>
`;
const SCRIPT = `document.querySelector('#root').dataset.loaded = 'yes';\n${'// a line of a bundle\n'.repeat(40)}`;

/** The web UI's files; anything else that is no API path gets the page, too. */
export const webRoutes: readonly Route[] = [
  ['GET', '/', (x) => page(x)],
  ['HEAD', '/', (x) => page(x)],
  ['GET', '/assets/app.js', (x) => asset(x, 'text/javascript; charset=utf-8', x.state.script ?? SCRIPT)],
  ['HEAD', '/assets/app.js', (x) => asset(x, 'text/javascript; charset=utf-8', x.state.script ?? SCRIPT)],
  ['GET', '/favicon.ico', (x) => asset(x, 'image/x-icon', '')],
];

/** What no route answers: 404 below the API's prefixes, the page elsewhere. */
export function fallback(x: Exchange): void {
  if (/^\/(?:v1|api|assets)/.test(x.path)) return notFound(x);
  page(x);
}

/** A route NewAPI has and does not serve. */
export function notImplemented(x: Exchange): void {
  const error = { message: 'API not implemented', type: 'new_api_error', param: '', code: 'api_not_implemented' };
  sendJson(x, 501, { error });
}

/** A path NewAPI does not have. */
export function notFound(x: Exchange): void {
  const message = `Invalid URL (${x.method} ${x.path})`;
  sendJson(x, 404, { error: { message, type: 'invalid_request_error', param: '', code: '' } });
}

function page(x: Exchange): void {
  if (!withinLimit(x, 'web', x.state.settings.webLimit)) return;
  const lines = ['Content-Type', 'text/html; charset=utf-8', 'Cache-Control', 'no-cache'];
  sendPacked(x, 200, x.state.page ?? PAGE, lines);
}

function asset(x: Exchange, type: string, body: string): void {
  if (!withinLimit(x, 'web', x.state.settings.webLimit)) return;
  const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"`;
  const lines = ['Cache-Control', 'max-age=604800', 'ETag', etag];
  if (x.req.headers['if-none-match'] === etag) {
    head(x, 304, lines);
    return void x.res.end();
  }
  sendPacked(x, 200, body, ['Content-Type', type, ...lines]);
}
