import type { Signal, Subject } from '../../types/detector.d.ts';
import type { Place } from '../../types/finding.d.ts';
import type { SqlValue } from '../../types/journal.d.ts';
import { familyOf, networkText } from '../identity/identity.ts';
import { Memo } from '../platform/platform.ts';

/** The columns of a record that the watch reads, in the order of {@link SignalRow}. */
export const signalColumns = [
  'request_id', 'timestamp', 'response_status', 'response_time', 'outcome', 'client', 'user_agent', 'model', 'route', 'prompt_tokens', 'completion_tokens', 'cost', 'bytes_in', 'key_id', 'token_id',
  'request_path', 'real_ip', 'country', 'content_fingerprint', 'device_id', 'session_id', 'home_id', 'request_headers', 'ja4',
] as const;

/** A row of {@link signalColumns} as an array: reading 24 members of SQLite's row objects costs 8 µs more. */
export type SignalRow = readonly SqlValue[];

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

/** JA4 tells programs apart that name the same system. Without its first part, which differs by version of HTTP and for a bare address. */
const platformWith = (platform: string, ja4: string | null): string => (ja4 === null ? platform : `${platform} ${ja4.slice(ja4.indexOf('_') + 1)}`.trim());

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
const count = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** UUIDv7 begins with the milliseconds of the arrival; the column has seconds. */
function timeOf(id: string, seconds: number): number {
  const time = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return Number.isFinite(time) && Math.abs(time - seconds * 1000) < 2000 ? time : seconds * 1000;
}

/** Client families in lower case. */
const families = new Memo<string>(100_000, 256);

function lowerFamily(client: string): string {
  const known = families.get(client);
  if (known !== undefined) return known;
  const family = familyOf(client).toLowerCase();
  families.set(client, family);
  return family;
}

/**
 * Whether a request to a model lacks what the agent that it names always sends. One sign of the agent is enough to believe it, since
 * releases change and proxies drop headers.
 * @param family of the client that the request names.
 * @param heads the recorded request headers, as JSON.
 * @param id of device or session.
 */
function isForged(family: string, route: string | null, heads: string, id: string | null): boolean {
  switch (family) {
    case 'claude-cli':
      return id === null && !heads.includes('"x-stainless-') && !heads.includes('claude-code-');
    case 'codex-cli':
      return id === null;
    case 'qwencode':
      return route === '/v1/chat/completions' && !heads.includes('"x-stainless-');
    default:
      return false;
  }
}

/** Makes a signal of a row of the journal. @param placeOf says where an address is, for records without a country. */
export function signalOf(row: SignalRow, placeOf: (address: string) => Place | null = () => null): Signal {
  const [id, seconds, answered, duration, outcome, client, agent, model, template, prompt, completion, cost, bytes, key, token, path, ip, country, content, device, session, home, heads, ja4] = row;
  const requestId = id as string;
  const status = count(answered);
  const refused = status === 401 || outcome === 'refused:invalid_credential';
  const family = typeof client === 'string' ? lowerFamily(client) : null;
  const tokens = count(prompt) + count(completion);
  const size = count(bytes);
  const homeId = text(home);
  const route = text(template);
  return {
    requestId, time: timeOf(requestId, count(seconds)), duration: count(duration),
    caller: refused ? null : callerOf(text(key), text(token)), refusedToken: refused ? text(token) : null,
    ...networksOf(ip as string), country: text(country) ?? placeOf(ip as string)?.country ?? null,
    client: family, platform: platformWith(platformOf(text(agent) ?? ''), text(ja4)), device: text(device), home: homeId,
    endUser: homeId !== null && !(family !== null && namesHome.test(family)),
    automated: homeId === null && size >= agentSize && family !== null && namesHome.test(family),
    forged: family !== null && text(model) !== null && typeof heads === 'string' && isForged(family, route, heads, text(device) ?? text(session)),
    session: text(session), model: text(model),
    route: status === 404 && (route === null || route.endsWith('*')) ? null : route, path: path as string, failed: status >= 400 && status !== 429 && status !== 499,
    tokens, cost: typeof cost === 'number' ? cost : (tokens / 1e6) * assumedPrice, size, content: text(content),
  };
}

/** The caller of a record: its gateway key, else its token. */
function callerOf(key: string | null, token: string | null): Subject | null {
  if (key !== null) return { kind: 'key', id: key };
  return token === null ? null : { kind: 'token', id: token };
}

/** Longest text of a signal from elsewhere. */
const longestText = 4096;

const isText = (value: unknown): boolean => typeof value === 'string' && value.length <= longestText;
const isTextOrNull = (value: unknown): boolean => value === null || isText(value);
const isNumber = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isCaller = (value: unknown): boolean => typeof value === 'object' && value !== null && 'kind' in value && (value.kind === 'key' || value.kind === 'token') && 'id' in value && isText(value.id) && value.id !== '';

const members: Readonly<Record<keyof Signal, (value: unknown) => boolean>> = {
  requestId: isText, time: isNumber, duration: isNumber, caller: (value) => value === null || isCaller(value), refusedToken: isTextOrNull, network: isText, near: isText, country: isTextOrNull,
  client: isTextOrNull, platform: isText, device: isTextOrNull, home: isTextOrNull, automated: isFlag, forged: isFlag, session: isTextOrNull, endUser: isFlag, model: isTextOrNull, route: isTextOrNull, path: isText, failed: isFlag,
  tokens: isNumber, cost: isNumber, size: isNumber, content: isTextOrNull,
};

/** Whether a value from elsewhere is a signal. */
export const isSignal = (value: unknown): value is Signal => typeof value === 'object' && value !== null && Object.entries(members).every(([name, fits]) => fits((value as Readonly<Record<string, unknown>>)[name]));
