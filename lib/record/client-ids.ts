import { type Headers, headerOf } from '../redaction/redaction.ts';
import { textsOf } from './layout.ts';

/** What a client says about itself. Raw values; only keyed hashes of them are stored. */
export interface ClientIds {
  readonly device: string | null;
  readonly session: string | null;
  /** Account name in the working directory with the kind of system, of agents; the end user that any other program names. */
  readonly home: string | null;
}

/** An agent whose requests contain its working directory. */
interface Agent {
  /** Its client family. */
  readonly pattern: RegExp;
  /** The text in front of the directory. */
  readonly marker: string;
  /** The path does not stand directly behind the marker, or only in other words near the beginning of the body. */
  readonly anywhere: boolean;
}

const agents: readonly Agent[] = [
  { pattern: /^claude/, marker: 'orking directory: ', anywhere: false },
  { pattern: /^codex/, marker: '<cwd>', anywhere: false },
  { pattern: /^opencode/, marker: 'orking directory: ', anywhere: false },
  { pattern: /^gemini/, marker: 'Workspace Directories', anywhere: true },
  { pattern: /^qwen/, marker: 'orkspace', anywhere: true },
];
/** Path of a home: its account name. The separators of a JSON text may be escaped. */
const homePath = /(?:\/home\/|\/Users\/|[A-Za-z]:(?:\\{1,4}|\/)Users(?:\\{1,4}|\/))([^/\\"<>\s:,;]{1,64})/;
/** Account names of containers and of machines without a person. */
const containers: ReadonlySet<string> = new Set(['root', 'app', 'workspace', 'workspaces', 'node', 'vscode', 'runner', 'codespace', 'coder', 'ubuntu', 'user', 'worker', 'build', 'jenkins']);

/** Bytes at the beginning and at the end of a body where ids mostly stand. */
const edge = 8192;
/** Bytes behind a marker in which the path begins. */
const reach = 400;

const userId = Buffer.from('"user_id"');
const cacheKey = Buffer.from('"prompt_cache_key"');
const installation = Buffer.from('installation');
/** Members in which programs name an end user, the newer first. */
const endUsers = ['safety_identifier', 'user'] as const;
/** Characters of an end user's id. */
const longestUser = 200;
const homes = [Buffer.from('/home/'), Buffer.from('/Users/'), Buffer.from('Users\\')];

/**
 * Reads the ids that agents and SDKs send: Claude Code's `metadata.user_id` in both forms, Codex's installation id, session headers,
 * `prompt_cache_key`, `safety_identifier` and `user`.
 * @param family client family, lower case. @param body of a model request. Empty where there is none.
 * @param outline what a scan has found in the body, or null.
 */
export function clientIdsOf(headers: Headers, family: string | null, body: Buffer, outline: Int32Array | null = null): ClientIds {
  const own = metadataOf(body, family);
  const turn = headerOf(headers, 'x-codex-turn-metadata');
  const device = own.device ?? textIn(turn, /"installation_id"\s*:\s*"([\w-]{8,80})"/) ?? installationOf(body, family);
  const session = own.session ?? headerOf(headers, 'x-claude-code-session-id') ?? headerOf(headers, 'session-id') ?? headerOf(headers, 'session_id')
    ?? headerOf(headers, 'x-session-id') ?? headerOf(headers, 'conversation_id') ?? valueAt(body, cacheKey);
  return { device, session, home: homeOf(body, family, outline) };
}

const textIn = (text: string | null | undefined, pattern: RegExp): string | null => pattern.exec(text ?? '')?.[1] ?? null;

function metadataOf(body: Buffer, family: string | null): { readonly device: string | null; readonly session: string | null } {
  const at = find(body, userId, family?.startsWith('claude') ?? false);
  if (at === -1) return { device: null, session: null };
  const text = body.toString('latin1', at + userId.length, at + 600);
  const device = textIn(text, /device_id\\*"\s*:\s*\\*"([\w-]{8,128})/) ?? textIn(text, /^\s*:\s*"user_([0-9a-f]{16,128})_account_/);
  const session = textIn(text, /session_id\\*"\s*:\s*\\*"([\w-]{8,80})/) ?? textIn(text, /_session_([\w-]{8,80})/);
  return { device, session };
}

function installationOf(body: Buffer, family: string | null): string | null {
  if (!(family?.startsWith('codex') ?? false)) return null;
  const at = find(body, installation, true);
  return at === -1 ? null : textIn(body.toString('latin1', at, at + 200), /^installation[_-]id\\*"\s*:\s*\\*"([\w-]{8,80})/);
}

function valueAt(body: Buffer, name: Buffer): string | null {
  const at = find(body, name, false);
  return at === -1 ? null : textIn(body.toString('latin1', at + name.length, at + 300), /^\s*:\s*"([^"\\]{4,200})"/);
}

/** Finds a name at the edges of a body, or anywhere in it. */
function find(body: Buffer, name: Buffer, anywhere: boolean): number {
  if (body.length <= 2 * edge) return body.indexOf(name);
  const tail = body.length - edge;
  const last = body.subarray(tail).lastIndexOf(name);
  if (last !== -1) return tail + last;
  const first = body.subarray(0, edge).indexOf(name);
  return first !== -1 || !anywhere ? first : body.indexOf(name);
}

function homeOf(body: Buffer, family: string | null, outline: Int32Array | null): string | null {
  const agent = family === null ? undefined : agents.find(({ pattern }) => pattern.test(family));
  if (agent === undefined) return endUserOf(body, outline);
  if (body.length === 0) return null;
  const at = body.indexOf(agent.marker);
  const near = at === -1 ? null : homePath.exec(body.toString('utf8', at + agent.marker.length, at + reach));
  // Elsewhere in the text stands any path.
  const found = near !== null && (agent.anywhere || near.index === 0) ? near : agent.anywhere ? anyHome(body) : null;
  if (found === null) return null;
  const [path, name] = found as unknown as [string, string];
  if (containers.has(name.toLowerCase())) return null;
  const system = path.startsWith('/home/') ? 'linux' : path.startsWith('/Users/') ? 'mac' : 'windows';
  return `${system} ${name}`;
}

/** A text that is a member of the body itself: tools have parameters of such names. */
function endUserOf(body: Buffer, outline: Int32Array | null): string | null {
  // Few bodies have one. A search costs less than a walk, unless a scan has found the ends of what is long.
  if (outline === null && !endUsers.some((name) => body.includes(`"${name}":`))) return null;
  const [identifier, user] = textsOf(body, endUsers, outline);
  const value = identifier ?? user ?? '';
  return value === '' || value.length > longestUser ? null : `user ${value}`;
}

function anyHome(body: Buffer): RegExpExecArray | null {
  for (const begin of homes) {
    const at = body.indexOf(begin);
    const found = at === -1 ? null : homePath.exec(body.toString('utf8', Math.max(0, at - 8), at + 100));
    if (found !== null) return found;
  }
  return null;
}
