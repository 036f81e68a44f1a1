import type { Journal, LearntFact } from '../../types/journal.d.ts';
import type { NewapiName } from '../../types/caller.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { describe, Repeated } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';

/** Between two calls, milliseconds: NewAPI allows an address 180 in 180 s, and the receiver's sink shares them. */
const every = 10_000;
/** The same while every caller has a name, and charges alone are asked for. */
const everyNamed = 30_000;
/** How long a name counts, milliseconds: people rename their tokens. */
const fresh = 86_400_000;
/** How long a record waits for its row, milliseconds, and how many records wait. */
const patience = 120_000;
const mostWaiting = 2000;
/** Failed rounds in a row, or callers in a row that got no name in time, after which names count as not to be had. */
const mostMisses = 3;
/** Names that are kept. */
const mostNames = 100_000;
/** Callers of one name that are looked for. */
const mostNamed = 1000;
/** `quota` of NewAPI that is a dollar. */
const quotaOfDollar = 500_000;
/** NewAPI answers in whole seconds. */
const slack = 5;

/** Asks NewAPI's own API. */
export type AskNewapi = (path: string, headers: readonly string[]) => Promise<{ readonly status: number; readonly body: unknown }>;

interface Waiting {
  readonly requestId: string;
  readonly caller: string;
  /** Unix seconds. */
  readonly time: number;
  /** Monotonic milliseconds. */
  readonly since: number;
}

interface Row {
  readonly request_id?: unknown;
  readonly user_id?: unknown;
  readonly username?: unknown;
  readonly token_id?: unknown;
  readonly token_name?: unknown;
  readonly group?: unknown;
  readonly quota?: unknown;
}

/**
 * Learns from NewAPI's own log who a caller is and what NewAPI has charged: its rows and the journal's records have NewAPI's id of
 * the request in common. Follows the journal, off the way of requests. What does not join is unknown, and never guessed.
 */
export class NewapiNames {
  readonly #core: Core;
  readonly #journal: Journal;
  readonly #get: AskNewapi;
  readonly #looks: Repeated;
  /** By kind and id of the caller. */
  readonly #names = new Map<string, { readonly name: NewapiName; readonly at: number }>();
  /** By NewAPI's id of the request. */
  readonly #waiting = new Map<string, Waiting>();
  #after: number | null = null;
  #asked = Number.NEGATIVE_INFINITY;
  #refused = false;
  /** Whose names are asked for: with another one they may be told. */
  #asks = '';
  #misses = 0;
  readonly #listeners: ((caller: string, name: NewapiName) => void)[] = [];

  constructor(core: Core, journal: Journal, get: AskNewapi) {
    this.#core = core;
    this.#journal = journal;
    this.#get = get;
    this.#looks = new Repeated(core, 'names', every, () => this.#look());
    journal.onWritten(() => this.start());
  }

  /** Begins, with the first commit at the latest, where `newapi.access_token` is set. */
  start(): void {
    if (this.#isOn) this.#looks.start();
  }

  /** Begins with the names that earlier runs have learnt. */
  restore(): void {
    if (this.#isOn) this.#looks.startNow();
  }

  /** Of several threads the main thread asks NewAPI. */
  get #isOn(): boolean {
    return this.#core.config.newapi.accessToken !== null && this.#core.crew?.isWorker !== true;
  }

  close(): void {
    this.#looks.stop();
  }

  /** What is known of a caller. */
  nameOf(kind: string, id: string | null): NewapiName | null {
    return id === null ? null : (this.#names.get(`${kind} ${id}`)?.name ?? null);
  }

  /** The keys and tokens with a user's name, a token's name or both. */
  callersNamed(username: string | undefined, tokenName: string | undefined): readonly string[] {
    const found: string[] = [];
    for (const [caller, { name }] of this.#names) {
      if ((username ?? name.username) !== name.username || (tokenName ?? name.token_name) !== name.token_name) continue;
      found.push(caller.slice(caller.indexOf(' ') + 1));
      if (found.length === mostNamed) break;
    }
    return found;
  }

  /** Names cannot be learnt at present, so a caller without one may be any user. */
  get blind(): boolean {
    return this.#refused || this.#misses >= mostMisses;
  }

  /** @param listener called with a caller (`key NAME`, `token ID`) that had no name and has one now. */
  onNamed(listener: (caller: string, name: NewapiName) => void): void {
    this.#listeners.push(listener);
  }

  async #look(): Promise<void> {
    const { accessToken, userId } = this.#core.config.newapi;
    const asks = `${accessToken} ${userId}`;
    if (asks !== this.#asks) this.#refused = false;
    this.#asks = asks;
    if (this.#refused || !this.#isOn || this.#core.draining) return;
    try {
      await this.#collect();
      const now = this.#core.clock.monotonic();
      for (const [id, { since, caller }] of this.#waiting) {
        if (now - since <= patience) continue;
        this.#waiting.delete(id);
        if (!this.#isNamed(caller)) this.#misses++;
      }
      const nameless = [...this.#waiting].find(([, { caller }]) => !this.#isNamed(caller));
      if (this.#waiting.size === 0 || (nameless === undefined && now - this.#asked < everyNamed)) return;
      this.#asked = now;
      await this.#join(await this.#ask(nameless));
    } catch (error) {
      this.#misses++;
      this.#core.log.debug({ error: describe(error) }, 'names.failed');
    }
  }

  #isNamed(caller: string): boolean {
    const known = this.#names.get(caller);
    return known !== undefined && this.#core.clock.monotonic() - known.at < fresh;
  }

  async #collect(): Promise<void> {
    if (this.#after === null) {
      await this.#restore();
      this.#after = Math.max(0, this.#journal.stats().lastId - 100);
    }
    for (let page = 0; page < 10; page++) {
      const records = await this.#journal.read(this.#after, 1000);
      for (const record of records) this.#remember(record);
      this.#after = records.at(-1)?.id ?? this.#after;
      if (records.length < 1000) return;
    }
  }

  #remember({ upstream_request_id: id, request_id: requestId, key_id: key, token_id: token, timestamp: time, model, response_status: status }: AuditRecord): void {
    const caller = callerOf(key, token);
    // A credential that NewAPI refused has no row there.
    if (id === null || caller === null || model === null || status === 401) return;
    if (this.#waiting.size >= mostWaiting) this.#waiting.delete(this.#waiting.keys().next().value as string);
    this.#waiting.set(id, { requestId, caller, time, since: this.#core.clock.monotonic() });
  }

  /** The newest rows, which name every caller of the last moments; or the row of the request that has waited longest, where they have not. */
  async #ask(nameless: readonly [string, Waiting] | undefined): Promise<readonly Row[]> {
    const { accessToken, userId } = this.#core.config.newapi;
    const now = this.#core.clock.monotonic();
    const isOld = nameless !== undefined && now - nameless[1].since >= 2 * every;
    const from = Math.min(...[...this.#waiting.values()].map(({ time }) => time)) - slack;
    const query = isOld ? `request_id=${encodeURIComponent(nameless[0])}` : `type=2&p=1&page_size=100&start_timestamp=${from}`;
    const { status, body } = await this.#get(`/api/log/?${query}`, ['authorization', accessToken ?? '', 'new-api-user', String(userId)]);
    const { success, data } = (body ?? {}) as { readonly success?: unknown; readonly data?: { readonly items?: unknown } | null };
    if (status === 401 || status === 403 || (status === 200 && success === false)) {
      this.#refused = true;
      this.#core.log.warn({ status, effect: 'users and tokens of NewAPI have no names here', fix: "set newapi.access_token and newapi.user_id to an administrator's" }, 'names.refused');
      return [];
    }
    if (status === 200 && Array.isArray(data?.items)) return data.items as readonly Row[];
    this.#misses++;
    return [];
  }

  async #join(rows: readonly Row[]): Promise<void> {
    const facts: LearntFact[] = [];
    for (const row of rows) {
      const waiting = typeof row.request_id === 'string' ? this.#waiting.get(row.request_id) : undefined;
      if (waiting === undefined) continue;
      this.#waiting.delete(row.request_id as string);
      const name = nameIn(row);
      const { requestId, caller } = waiting;
      if (!this.#isNamed(caller)) facts.push({ requestId, name: 'newapi', value: JSON.stringify(name) });
      const isNew = !this.#names.has(caller);
      this.#name(caller, name);
      this.#misses = 0;
      if (isNew) for (const listener of this.#listeners) listener(caller, name);
      facts.push({ requestId, name: 'username', value: name.username }, { requestId, name: 'token_name', value: name.token_name });
      if (typeof row.quota === 'number') facts.push({ requestId, name: 'charged', value: row.quota / quotaOfDollar });
    }
    if (facts.length > 0) await this.#journal.learn(facts);
  }

  #name(caller: string, name: NewapiName): void {
    this.#names.delete(caller);
    if (this.#names.size >= mostNames) this.#names.delete(this.#names.keys().next().value as string);
    this.#names.set(caller, { name, at: this.#core.clock.monotonic() });
  }

  /** Names that earlier runs have learnt; those of forgotten callers are gone from the journal. */
  async #restore(): Promise<void> {
    const rows = await this.#journal.query("SELECT l.key_id AS key, l.token_id AS token, f.value AS value FROM heimdall_learnt AS f JOIN heimdall_logs AS l ON l.id = f.record WHERE f.name = 'newapi' AND f.value IS NOT NULL ORDER BY f.fact DESC LIMIT ?", [mostNames]);
    for (const { key, token, value } of rows.toReversed()) {
      const caller = callerOf(key as string | null, token as string | null);
      if (caller !== null) this.#names.set(caller, { name: JSON.parse(JSON.parse(String(value)) as string) as NewapiName, at: Number.NEGATIVE_INFINITY });
    }
  }
}

const callerOf = (key: string | null, token: string | null): string | null => (key === null ? (token === null ? null : `token ${token}`) : `key ${key}`);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const nameIn = ({ user_id: user, username, token_id: token, token_name: tokenName, group }: Row): NewapiName =>
  ({ user_id: Number(user), username: textOf(username), token_id: Number(token), token_name: textOf(tokenName), group: textOf(group) });
