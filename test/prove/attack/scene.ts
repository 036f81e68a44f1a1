import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash } from 'node:crypto';
import { authority } from '../../support/authority.ts';
import type { TestLike } from '../../support/client.ts';
import { sql, type JournalRow } from '../../support/journal.ts';
import { startStandalone, type Standalone } from '../../support/standalone.ts';
import { openDoor } from './door.ts';
import { digest, StandIn, tell, type React } from './stand-in.ts';
import { exchange, type Heard } from './wire.ts';

export const METRICS_TOKEN = 'attack-metrics-token-0123456789abcdef';
export const ADMIN_TOKEN = 'attack-admin-token-0123456789abcdefgh';
export const INGEST_TOKEN = 'attack-ingest-token-0123456789abcdef';

/** A token of NewAPI's form: `sk-` and 48 letters and digits, told apart by its last four. */
export const tokenOf = (name: string): string => `sk-${(hash('sha256', name) + hash('sha256', `${name}2`)).slice(0, 44)}${name.padStart(4, '0').slice(-4)}`;

/** Gateway keys and what they are exchanged for. */
export const VICTIM = { key: tokenOf('VKey'), credential: tokenOf('VUpC') };
export const ATTACKER = { key: tokenOf('AKey'), credential: tokenOf('AUpC') };

const keyRow = (name: string, { key, credential }: typeof VICTIM, more = ''): string => `{ name: ${name}, sha256: ${hash('sha256', key)}, upstream_credential: ${credential}${more} }`;

/** @param more what the attacker's key may, as YAML. */
export const keysYaml = (more = ''): string => `auth: { mode: keys, keys: [${keyRow('victim', VICTIM)}, ${keyRow('attacker', ATTACKER, more)}] }\n`;

const common = `
secret: an-install-secret-for-this-proof
server: { health_check: { enabled: false } }
llm: { health_check: { enabled: false }, retry: { max_retries: 0 }, price_source: none }
`;

/** `h2`: what can be said in HTTP/2 is said in it. */
const isHttp2 = process.env['PROVE_DOOR'] === 'h2';
/** `server.workers`, where it is to be another than the default. */
const workers = process.env['PROVE_WORKERS'];

/** A gate as a process of its own before an upstream that keeps what it is sent. */
export interface Scene extends TestLike {
  readonly gate: Standalone;
  readonly port: number;
  readonly upstream: StandIn;
  /** Rows of the journal, what is still on its way waited for. */
  rows(where?: string): Promise<JournalRow[]>;
  /** What the access log holds. */
  log(): string;
  /** Resident memory of the gate, MB (2^20 bytes); 0 when it has ended. */
  memory(): number;
  alive(): boolean;
  close(): Promise<void>;
}

interface Set {
  /** How the upstream answers; by default it tells what it was sent. */
  readonly react?: React;
  /** In place of what every scene has. */
  readonly base?: string;
  /** More of the section `audit`. */
  readonly audit?: string;
}

/** @param yaml the gate's configuration, beside what every scene has. */
export async function openScene(yaml: string, { react = (arrival, at) => (at === 'end' ? tell(arrival) : null), base = common, audit = '' }: Set = {}): Promise<Scene> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-attack-'));
  const upstream = await new StandIn(react).listen();
  const cleanup: (() => unknown)[] = [];
  const after: Scene['after'] = (fn) => void cleanup.push(fn);
  const server = [workers === undefined ? '' : `workers: ${workers}, `, isHttp2 ? tlsYaml(after) : ''].join('');
  const gate = await startStandalone(upstream.url, `${base.replace('server: { ', `server: { ${server}`)}${yaml}\naudit: { path: ${dir}/heimdall.db${audit} }\nlogging: { level: warn, file: ${dir}/access.log }\n`);
  const own = Number(new URL(gate.url).port);
  const alive = (): boolean => statusOf(gate.pid) !== null;
  return {
    gate,
    port: isHttp2 ? await openDoor({ after }, own) : own,
    upstream,
    after,
    async rows(where = '1') {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return sql(`${dir}/heimdall.db`, `SELECT * FROM heimdall_logs WHERE ${where} ORDER BY id`);
    },
    log: () => readFileSync(`${dir}/access.log`, 'utf8'),
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(statusOf(gate.pid) ?? '')?.[1] ?? 0) / 1024,
    alive,
    async close() {
      for (const fn of cleanup.toReversed()) await fn();
      await gate.kill();
      await upstream.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function tlsYaml(after: Scene['after']): string {
  const { certPath, keyPath } = authority({ after }).issue('DNS:gate.example', 'IP:127.0.0.1');
  return `tls: { cert_path: ${certPath}, key_path: ${keyPath} }, `;
}

function statusOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^State:\s+[ZX]/m.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** A request as bytes. Lines are given without their ends. */
export const head = (method: string, target: string, lines: readonly string[] = [], host = 'gate.example'): string => [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...lines, '', ''].join('\r\n');

/** The answer of the stand-in, where it is one. */
export interface Told {
  readonly target: string;
  /** Digest of the key that NewAPI would take the caller for. */
  readonly caller: string;
  readonly digest: string;
}

export function toldBy(heard: Heard): Told | null {
  try {
    return JSON.parse(heard.answers[0]?.body.toString() ?? '') as Told;
  } catch {
    return null;
  }
}

let victims = 0;

/** Another client's calls, one by each of the gate's engines. @returns what is wrong with them, or null. */
export async function victim(port: number, from = '127.0.0.1'): Promise<string | null> {
  const found = await Promise.all([chatOf(port, from), passedOf(port, from)]);
  return found.filter((each) => each !== null).join('; ') || null;
}

/** A chat with the victim's key. */
export async function chatOf(port: number, from = '127.0.0.1', key = VICTIM.key, credential = VICTIM.credential): Promise<string | null> {
  const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: `victim ${victims++}` }] });
  const heard = await exchange(port, [head('POST', '/v1/chat/completions', [`Authorization: Bearer ${key}`, 'Content-Type: application/json', 'X-Whose: victim', `Content-Length: ${body.length}`]) + body], { expected: 1, patience: 5000, from });
  const told = toldBy(heard);
  if (told === null || heard.answers[0]?.status !== 200) return `the victim's chat: ${shown(heard)}`;
  if (told.digest !== digest(body)) return 'the victim\'s body was changed';
  return told.caller === digest(credential.slice(3)) ? null : 'the victim went with another credential';
}

async function passedOf(port: number, from: string): Promise<string | null> {
  const target = `/api/victim/${victims++}`;
  const heard = await exchange(port, [head('GET', target, ['X-Whose: victim'])], { expected: 1, patience: 5000, from });
  const told = toldBy(heard);
  return told?.target === target ? null : `the victim's GET: ${shown(heard)}`;
}

/** What came back, in a few words. */
export function shown({ answers, closed, bytes }: Heard): string {
  const each = answers.map(({ status, complete }) => `${status}${complete ? '' : ' (cut)'}`).join(', ');
  return `${each === '' ? (bytes.length > 0 ? `no HTTP: ${JSON.stringify(bytes.toString('latin1', 0, 40))}` : 'no answer') : each}${closed ? ', closed' : ''}`;
}
