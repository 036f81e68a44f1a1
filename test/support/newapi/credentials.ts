import type { IncomingHttpHeaders } from 'node:http';

import { clientIp, queryValue, refuse } from './exchange.ts';
import { admit, type Asked, type Exchange, type Key } from './state.ts';

/** Why a caller may not go on. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly code?: string;
}

/** Whose token it is, or why it is none. */
export type Verdict = { readonly key: Key; readonly refusal?: never } | { readonly key?: never; readonly refusal: Refusal };

const MINUTE = 60_000;
// Newer versions take these on the model list, too.
const RECENT_PATH = '/v1/models';
const GEMINI_PATHS = ['/v1beta/models', '/v1beta/openai/models', '/v1/models/'];

/** Judges the caller's token; says nothing to the client. */
export function judge(x: Asked): Verdict {
  const [token = '', channel] = carried(x).replace(/^sk-/, '').split('-');
  const key = x.state.keys.get(token);
  if (!key) return { refusal: { status: 401, message: 'Invalid token' } };
  if (key.allowIps && key.allowIps.length > 0 && !key.allowIps.includes(clientIp(x))) {
    return { refusal: { status: 403, message: 'This address may not use the token', code: 'access_denied' } };
  }
  // NewAPI's own words: clients and gateways may look for them.
  if (channel !== undefined && !key.admin) return { refusal: { status: 403, message: '普通用户不支持指定渠道' } };
  return { key };
}

/** Judges the model: the user's limit, the token's list, a channel. */
export function judgeModel(x: Asked, key: Key, model: string): Refusal | undefined {
  const { modelLimit } = key;
  if (modelLimit !== undefined && !admit(x.state, `user ${key.user}`, { limit: modelLimit, window: MINUTE })) {
    return { status: 429, message: `The user's limit is reached: ${modelLimit} requests in 1 minute` };
  }
  if (model === '') return { status: 400, message: 'No model is named', code: 'invalid_request' };
  if (key.models && !key.models.includes(model)) {
    return { status: 403, message: `The token has no access to model ${model}`, code: 'access_denied' };
  }
  if (x.state.settings.models.includes(model)) return undefined;
  const message = `No available channel for model ${model} under group ${key.group ?? 'default'}`;
  return { status: 503, message, code: 'model_not_found' };
}

/** The caller's token, or undefined when the refusal has been answered. */
export function authorise(x: Exchange): Key | undefined {
  const { key, refusal } = judge(x);
  if (refusal) refuse(x, refusal.status, refusal.message, refusal.code);
  return key;
}

/** Whether the model may be used; a refusal has been answered. */
export function allowModel(x: Exchange, key: Key, model: string): boolean {
  const refusal = judgeModel(x, key, model);
  if (refusal) refuse(x, refusal.status, refusal.message, refusal.code);
  return !refusal;
}

/** The credential that counts on this path, by NewAPI's precedence, without `Bearer`. */
export function carried(x: Asked): string {
  const { headers } = x.req;
  const text = bare(override(x, headers) ?? headers.authorization ?? '');
  return text === '' || text === 'midjourney-proxy' ? bare(one(headers, 'mj-api-secret') ?? '') : text;
}

/** What replaces `Authorization`: the later carrier wins over the earlier, as each overwrites it. */
function override(x: Asked, headers: IncomingHttpHeaders): string | undefined {
  let found = fromProtocols(headers);
  const recent = x.state.settings.recent && x.path === RECENT_PATH;
  if (recent || x.path.includes('/v1/messages')) found = one(headers, 'x-api-key') ?? found;
  if (recent || GEMINI_PATHS.some((prefix) => x.path.startsWith(prefix))) {
    const named = queryValue(x, 'key');
    found = one(headers, 'x-goog-api-key') ?? (named === '' ? undefined : named) ?? found;
  }
  return found;
}

/** A list without a key replaces `Authorization` too: the whole list is then taken for the token. */
function fromProtocols(headers: IncomingHttpHeaders): string | undefined {
  const list = headers['sec-websocket-protocol'];
  if (list === undefined) return undefined;
  const key = list.split(',').find((entry) => entry.trim().startsWith('openai-insecure-api-key'));
  return key?.trim().replace('openai-insecure-api-key.', '') ?? list;
}

function one(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function bare(credential: string): string {
  return credential.replace(/^bearer /i, '').trim();
}
