import type { Signal, Subject } from '../../types/detector.d.ts';
import type { SqlRow } from '../../types/journal.d.ts';
import { familyOf } from '../identity/identity.ts';

/** The columns of a record that the watch reads. */
export const signalColumns = 'id, request_id, timestamp, response_status, response_time, outcome, client, user_agent, model, stream, route, prompt_tokens, completion_tokens, cost, bytes_in, bytes_out, key_id, token_id, request_path, real_ip, country, content_fingerprint, device_id, session_id, home_id, source';

/** US dollars for a million tokens where no price is known: a signal needs an order of magnitude only. */
const assumedPrice = 3;
/** Agents that name their working directory in every request; so large a request without one runs in a container. */
const namesHome: ReadonlySet<string> = new Set(['claude-cli', 'claude-code', 'codex', 'codex_exec', 'codex_cli_rs', 'geminicli', 'geminicli-tui', 'qwencode', 'opencode']);
const agentSize = 20_000;

/** The client network and the wider one around it. */
export function networksOf(address: string): { readonly network: string; readonly near: string } {
  if (!address.includes(':')) {
    const [a = '0', b = '0', c = '0'] = address.split('.');
    return { network: `${a}.${b}.${c}.0/24`, near: `${a}.${b}.0.0/16` };
  }
  const groups = groupsOf(address);
  const high = (groups[3] as number) & 0xff00;
  const [a, b, c] = groups.map((group) => group.toString(16)) as [string, string, string];
  return { network: `${a}:${b}:${c}:${high.toString(16)}::/56`, near: `${a}:${b}::/32` };
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = (address.split('%', 1)[0] as string).split('::');
  const read = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16) || 0));
  const before = read(head);
  if (tail === undefined) return [...before, ...Array<number>(Math.max(0, 8 - before.length)).fill(0)].slice(0, 8);
  const after = read(tail);
  return [...before, ...Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0), ...after].slice(0, 8);
}

const system = /\b(windows|win32|mac ?os|macos|darwin|linux|android|iphone|ipad|ios|freebsd)\b/i;
const architecture = /\b(x86_64|x64|amd64|arm64|aarch64|armv7l)\b/i;
const normal: Readonly<Record<string, string>> = { win32: 'windows', 'mac os': 'mac', macos: 'mac', darwin: 'mac', iphone: 'ios', ipad: 'ios', x86_64: 'x64', amd64: 'x64', aarch64: 'arm64' };
const maxPlatforms = 2000;
const platforms = new Map<string, string>();

/** Operating system and architecture that a user agent names. */
export function platformOf(agent: string): string {
  const known = platforms.get(agent);
  if (known !== undefined) return known;
  const of = (pattern: RegExp): string => {
    const word = pattern.exec(agent)?.[1]?.toLowerCase() ?? '';
    return normal[word] ?? word;
  };
  const platform = `${of(system)} ${of(architecture)}`.trim();
  if (platforms.size >= maxPlatforms) platforms.clear();
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
    ...networksOf(String(row['real_ip'])), country: text(row['country']), hosting: null,
    client: family, platform: platformOf(text(row['user_agent']) ?? ''), device: text(row['device_id']), home,
    automated: home === null && size >= agentSize && family !== null && namesHome.has(family),
    session: text(row['session_id']), model: text(row['model']),
    route: status === 404 && (route === null || route.endsWith('*')) ? null : route, path, failed: status >= 400 && status !== 429 && status !== 499,
    tokens, cost: typeof row['cost'] === 'number' ? row['cost'] : (tokens / 1e6) * assumedPrice, size, content: text(row['content_fingerprint']), forged: false,
  };
}
