import type { Signal, Subject } from '../../types/detector.d.ts';
import type { SqlRow } from '../../types/journal.d.ts';
import { familyOf } from '../identity/identity.ts';
import { Memo } from '../platform/platform.ts';
import { networkText } from '../registry/registry.ts';

/** The columns of a record that the watch reads. */
export const signalColumns = 'id, request_id, timestamp, response_status, response_time, outcome, client, user_agent, model, stream, route, prompt_tokens, completion_tokens, cost, bytes_in, bytes_out, key_id, token_id, request_path, real_ip, country, content_fingerprint, device_id, session_id, home_id, source';

/** US dollars for a million tokens where no price is known: a signal needs an order of magnitude only. */
const assumedPrice = 3;
/** Agents that name their working directory in every request; so large a request without one runs in a container. */
const namesHome = /^(?:claude|codex|gemini|qwen|opencode)/;
const agentSize = 20_000;

/** Networks of recent addresses. */
const networks = new Memo<{ readonly network: string; readonly near: string }>(200_000, 64);

/** The client network and the wider one around it. */
export function networksOf(address: string): { readonly network: string; readonly near: string } {
  const known = networks.get(address);
  if (known !== undefined) return known;
  const [narrow, wide] = address.includes(':') ? [56, 32] : [24, 16];
  const found = { network: networkText(`${address}/${narrow}`) ?? address, near: networkText(`${address}/${wide}`) ?? address };
  networks.set(address, found, 64);
  return found;
}

const system = /\b(windows|win32|mac ?os|macos|darwin|linux|android|iphone|ipad|ios|freebsd)\b/i;
const architecture = /\b(x86_64|x64|amd64|arm64|aarch64|armv7l)\b/i;
const normal: Readonly<Record<string, string>> = { win32: 'windows', 'mac os': 'mac', macos: 'mac', darwin: 'mac', iphone: 'ios', ipad: 'ios', x86_64: 'x64', amd64: 'x64', aarch64: 'arm64' };
const platforms = new Memo<string>(500_000, 1024);

/** Operating system and architecture that a user agent names. */
export function platformOf(agent: string): string {
  const known = platforms.get(agent);
  if (known !== undefined) return known;
  const of = (pattern: RegExp): string => {
    const word = pattern.exec(agent)?.[1]?.toLowerCase() ?? '';
    return normal[word] ?? word;
  };
  const platform = `${of(system)} ${of(architecture)}`.trim();
  platforms.set(agent, platform);
  return platform;
}

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
const count = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** The caller of a record: its gateway key, else its token. */
export function callerOf(row: SqlRow): Subject | null {
  const key = text(row['key_id']);
  const token = text(row['token_id']);
  if (key !== null) return { kind: 'key', id: key };
  return token === null ? null : { kind: 'token', id: token };
}

/** UUIDv7 begins with the milliseconds of the arrival; the column has seconds. */
function timeOf(id: string, seconds: number): number {
  const time = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return Number.isFinite(time) && Math.abs(time - seconds * 1000) < 2000 ? time : seconds * 1000;
}

/** Makes a signal of a row of the journal, selected with {@link signalColumns}. */
export function signalOf(row: SqlRow): Signal {
  const id = String(row['request_id']);
  const status = count(row['response_status']);
  const outcome = String(row['outcome']);
  const refused = status === 401 || outcome === 'refused:invalid_credential';
  const client = text(row['client']);
  const family = client === null ? null : familyOf(client).toLowerCase();
  const tokens = count(row['prompt_tokens']) + count(row['completion_tokens']);
  const size = count(row['bytes_in']);
  const home = text(row['home_id']);
  const path = String(row['request_path']);
  const route = text(row['route']);
  return {
    requestId: id, time: timeOf(id, count(row['timestamp'])), duration: count(row['response_time']),
    caller: refused ? null : callerOf(row), refusedToken: refused ? text(row['token_id']) : null,
    ...networksOf(String(row['real_ip'])), country: text(row['country']),
    client: family, platform: platformOf(text(row['user_agent']) ?? ''), device: text(row['device_id']), home,
    automated: home === null && size >= agentSize && family !== null && namesHome.test(family),
    session: text(row['session_id']), model: text(row['model']),
    route: status === 404 && (route === null || route.endsWith('*')) ? null : route, path, failed: status >= 400 && status !== 429 && status !== 499,
    tokens, cost: typeof row['cost'] === 'number' ? row['cost'] : (tokens / 1e6) * assumedPrice, size, content: text(row['content_fingerprint']),
  };
}
