import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';

import { field, parseJson, textField } from '../content/json.ts';
import { authorise } from './credentials.ts';
import { head, queryValue, send, sendData, sendFailure, sendPacked, withinLimit } from './exchange.ts';
import { answerText } from './relay.ts';
import type { Exchange, Handler, Key, Route, State, UserOptions } from './state.ts';

const KEPT_REPORTS = 10_000;
const SESSION_LINES = 'Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict';

/** The dashboard's API; every one of them counts against the address's limit. */
export const dashboardRoutes: readonly Route[] = (
  [
    ['GET', '/api/status', status],
    ['GET', '/api/pricing', pricing],
    ['GET', '/api/notice', (x) => sendData(x, 'Welcome')],
    ['POST', '/api/user/login', login],
    ['GET', '/api/user/self', withUser((x, name, user) => sendData(x, { id: user.id, username: name, role: user.admin ? 100 : 1, status: 1 }))],
    ['PUT', '/api/user/self', withUser((x) => sendData(x, null))],
    ['GET', '/api/user/logout', logout],
    ['GET', '/api/user/epay/notify', (x) => send(x, 200, 'success', ['Content-Type', 'text/plain; charset=utf-8'])],
    ['POST', '/api/stripe/webhook', stripe],
    ['GET', '/api/oauth/linuxdo', oauth],
    ['GET', '/api/log/', withUser((x, _, user) => sendLog(x, (row) => user.admin === true || row.user_id === user.id))],
    ['GET', '/api/log/self', withUser((x, _, user) => sendLog(x, (row) => row.user_id === user.id))],
    ['GET', '/api/log/token', tokenLog],
    ['GET', '/api/usage/token/', tokenUsage],
    ['POST', '/api/heimdall/log', receive],
    ['*', /^\/api\/(?:token|channel|option|redemption|data|group|user|mj|task)(?:\/.*)?$/, withUser((x) => sendData(x, []))],
    ['GET', /^(?:\/v1)?\/dashboard\/billing\/(subscription|usage)$/, billing],
  ] satisfies readonly Route[]
).map(([method, path, handler]): Route => [method, path, limited(handler)]);

/** The dashboard's playground: a chat by session, outside the address's limit. */
export const playgroundRoutes: readonly Route[] = [
  [
    'POST',
    '/pg/chat/completions',
    withUser((x, _, user) => answerText(x, { token: 'playground', user: user.id, used: 0 }, 'chat')),
  ],
];

/** What Stripe puts into `Stripe-Signature` for this body. */
export function stripeSignature(body: Uint8Array | string, secret: string, seconds: number): string {
  const hmac = createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex');
  return `t=${seconds},v1=${hmac}`;
}

function limited(handler: Handler): Handler {
  return (x, groups) => (withinLimit(x, 'api', x.state.settings.apiLimit) ? handler(x, groups) : undefined);
}

/** Needs the session cookie and, in `New-Api-User`, the same user's id. */
function withUser(handler: (x: Exchange, name: string, user: UserOptions) => void | Promise<void>): Handler {
  return (x) => {
    const name = x.state.sessions.get(cookie(x, 'session') ?? '') ?? tokenOwner(x);
    const user = name === undefined ? undefined : x.state.users.get(name);
    if (name === undefined || !user) return sendFailure(x, 'Not logged in and no access token given', 401);
    const claimed = x.req.headers['new-api-user'];
    if (claimed === undefined) return sendFailure(x, 'New-Api-User is missing', 401);
    if (claimed !== String(user.id)) return sendFailure(x, 'New-Api-User does not match the session', 401);
    return handler(x, name, user);
  };
}

function pricing(x: Exchange): void {
  const data = [{ model_name: 'gpt-4o-mini', quota_type: 0, model_ratio: 0.075, model_price: 0, completion_ratio: 4, cache_ratio: 0.5, enable_groups: ['default'] }];
  sendPacked(x, 200, JSON.stringify({ success: true, data, group_ratio: { default: 1 } }), ['Content-Type', 'application/json; charset=utf-8']);
}

function status(x: Exchange): void {
  const { settings, started } = x.state;
  sendData(x, {
    version: settings.version,
    start_time: started,
    system_name: 'New API',
    server_address: `http://${x.req.headers.host ?? ''}`,
    logo: '',
    footer_html: '',
    quota_per_unit: 500_000,
    display_in_currency: true,
    email_verification: false,
    github_oauth: false,
    linuxdo_oauth: true,
    turnstile_check: false,
    price: 7.3,
    setup: true,
  });
}

function login(x: Exchange): void {
  const body = parseJson(x.body.toString());
  const name = textField(body, 'username') ?? '';
  const user = x.state.users.get(name);
  if (!user || field(body, 'password') !== user.password) {
    return sendFailure(x, 'Wrong user name or password, or the user is banned');
  }
  const session = randomUUID();
  x.state.sessions.set(session, name);
  sendPacked(x, 200, JSON.stringify({ success: true, message: '', data: { id: user.id, username: name } }), [
    'Content-Type',
    'application/json; charset=utf-8',
    'Set-Cookie',
    `session=${session}; ${SESSION_LINES}`,
    'Set-Cookie',
    'lang=en; Path=/; Max-Age=31536000',
  ]);
}

function logout(x: Exchange): void {
  x.state.sessions.delete(cookie(x, 'session') ?? '');
  sendPacked(x, 200, JSON.stringify({ success: true, message: '' }), [
    'Content-Type',
    'application/json; charset=utf-8',
    'Set-Cookie',
    'session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict',
  ]);
}

/** Where the provider shall send the browser back to: what the client typed, if the proxies in front are honest. */
function oauth(x: Exchange): void {
  const forwarded = x.req.headers['x-forwarded-proto'];
  const scheme = typeof forwarded === 'string' ? forwarded : 'http';
  const back = encodeURIComponent(`${scheme}://${x.req.headers.host ?? ''}/oauth/linuxdo`);
  const location = `https://connect.linux.do/oauth2/authorize?response_type=code&client_id=standin&redirect_uri=${back}`;
  head(x, 302, ['Location', location, 'Content-Length', '0']);
  x.res.end();
}

function stripe(x: Exchange): void {
  const given = x.req.headers['stripe-signature'];
  const seconds = /^t=(\d+),/.exec(String(given))?.[1];
  const expected = Buffer.from(stripeSignature(x.body, x.state.settings.stripeSecret, Number(seconds)));
  const actual = Buffer.from(String(given));
  const right = expected.length === actual.length && timingSafeEqual(expected, actual);
  send(x, right ? 200 : 400, '', []);
}

function sendLog(x: Exchange, mine: (row: State['usage'][number]) => boolean): void {
  const items = x.state.usage.filter(mine).toReversed();
  sendData(x, { page: 1, page_size: items.length, total: items.length, items });
}

function tokenLog(x: Exchange): void {
  const key = x.state.keys.get((queryValue(x, 'key') ?? '').replace(/^sk-/, ''));
  if (!key) return sendFailure(x, 'record not found');
  sendData(x, rowsOf(x.state, key));
}

function tokenUsage(x: Exchange): void {
  const key = authorise(x);
  if (!key) return;
  const data = { object: 'token_usage', total_used: key.used, unlimited_quota: key.quota === undefined };
  sendPacked(x, 200, JSON.stringify({ code: true, message: 'ok', data }));
}

function rowsOf(state: State, key: Key): State['usage'] {
  return state.usage.filter((row) => row.user_id === key.user);
}

/** The log receiver: it asks nobody who is calling. */
function receive(x: Exchange): void {
  if (!x.state.settings.receiver) return sendMissing(x);
  const report = parseJson(x.body.toString());
  if (typeof report !== 'object' || report === null || Array.isArray(report)) return sendFailure(x, 'Invalid log data', 400);
  x.state.received.push(report);
  if (x.state.received.length > KEPT_REPORTS) x.state.received.shift();
  sendPacked(x, 200, JSON.stringify({ success: true, message: 'Log received successfully' }));
}

function sendMissing(x: Exchange): void {
  const message = `Invalid URL (${x.method} ${x.path})`;
  sendPacked(x, 404, JSON.stringify({ error: { message, type: 'invalid_request_error', param: '', code: '' } }));
}

function billing(x: Exchange, [what]: readonly (string | undefined)[]): void {
  const key = authorise(x);
  if (!key) return;
  const limit = key.quota ?? 100_000_000;
  sendPacked(
    x,
    200,
    JSON.stringify(
      what === 'usage'
        ? { object: 'list', total_usage: key.used }
        : {
            object: 'billing_subscription',
            has_payment_method: true,
            soft_limit_usd: limit,
            hard_limit_usd: limit,
            system_hard_limit_usd: limit,
            access_until: 0,
          },
    ),
  );
}

function tokenOwner(x: Exchange): string | undefined {
  const token = x.req.headers.authorization?.replace(/^Bearer /, '');
  if (token === undefined) return undefined;
  for (const [name, user] of x.state.users) if (user.accessToken === token) return name;
  return undefined;
}

function cookie(x: Exchange, name: string): string | undefined {
  for (const pair of (x.req.headers.cookie ?? '').split(';')) {
    const [key, value] = pair.trim().split('=', 2);
    if (key === name) return value;
  }
  return undefined;
}
