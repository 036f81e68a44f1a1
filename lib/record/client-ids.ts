import { type Headers, headerOf } from '../redaction/redaction.ts';
import { outlineKinds } from '../http/http.ts';
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
  const near = nearText(body, outline);
  /** Agents are looked for in all of it, where no scan says which of it are members of the body itself. */
  const text = (agent: string): string => (outline === null && (family?.startsWith(agent) ?? false) ? body.toString('latin1') : near);
  const own = metadataOf(text('claude'));
  const turn = headerOf(headers, 'x-codex-turn-metadata');
  const device = own.device ?? textIn(turn, /"installation_id"\s*:\s*"([\w-]{8,80})"/) ?? (family?.startsWith('codex') ? textIn(behind(text('codex'), 'installation'), /^[_-]id\\*"\s*:\s*\\*"([\w-]{8,80})"/) : null);
  const session = own.session ?? headerOf(headers, 'x-claude-code-session-id') ?? headerOf(headers, 'session-id') ?? headerOf(headers, 'session_id')
    ?? headerOf(headers, 'x-session-id') ?? headerOf(headers, 'conversation_id') ?? textIn(behind(near, '"prompt_cache_key"'), /^\s*:\s*"([^"\\]{4,200})"/);
  return { device, session, home: homeOf(body, family, outline, near) };
}

const textIn = (text: string | null | undefined, pattern: RegExp): string | null => pattern.exec(text ?? '')?.[1] ?? null;

/** The text in which ids stand: the members of a body beside its long parts, or its edges where no scan has found these. */
function nearText(body: Buffer, outline: Int32Array | null): string {
  if (outline === null) return body.length <= 2 * edge ? body.toString('latin1') : `${body.toString('latin1', 0, edge)}\n${body.toString('latin1', body.length - edge)}`;
  let text = '';
  let done = 0;
  for (let at = 0; at < outline.length; at += 3) {
    // Turns are elements of a list.
    if (outline[at] === outlineKinds.newest || outline[at] === outlineKinds.turn) continue;
    text += body.toString('latin1', done, outline[at + 1]);
    done = outline[at + 2] as number;
  }
  return text + body.toString('latin1', done);
}

/** Characters behind a name in which its value ends. */
const longestValue = 600;

/** The text behind a name. Of two members of one name the last counts. */
function behind(text: string, name: string): string | null {
  const at = text.lastIndexOf(name);
  return at === -1 ? null : text.slice(at + name.length, at + name.length + longestValue);
}

function metadataOf(body: string): { readonly device: string | null; readonly session: string | null } {
  const text = behind(body, '"user_id"');
  const device = textIn(text, /device_id\\*"\s*:\s*\\*"([\w-]{8,128})/) ?? textIn(text, /^\s*:\s*"user_([0-9a-f]{16,128})_account_/);
  const session = textIn(text, /session_id\\*"\s*:\s*\\*"([\w-]{8,80})/) ?? textIn(text, /_session_([\w-]{8,80})/);
  return { device, session };
}

function homeOf(body: Buffer, family: string | null, outline: Int32Array | null, nearby: string): string | null {
  const agent = family === null ? undefined : agents.find(({ pattern }) => pattern.test(family));
  if (agent === undefined) return endUserOf(body, outline, nearby);
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
function endUserOf(body: Buffer, outline: Int32Array | null, near: string): string | null {
  // Few bodies have one. A search costs less than a walk.
  if (!endUsers.some((name) => (outline === null ? body : near).includes(`"${name}"`))) return null;
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
