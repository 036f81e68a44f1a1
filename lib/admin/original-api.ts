import type { Action } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { SqlRow } from '../../types/journal.d.ts';
import type { Question } from '../../types/reader.d.ts';
import { sentencesOf } from '../anomaly/anomaly.ts';
import { HeimdallError } from '../errors.ts';
import { readBody } from '../http/http.ts';
import { AddressSet } from '../identity/identity.ts';
import { BearerGuard } from '../keys/keys.ts';
import { describe } from '../platform/platform.ts';
import { printableJson } from '../redaction/redaction.ts';
import { type Context, ownRoute, underway } from '../request/request.ts';
import type { AdminServices } from './call.ts';
import { findingOf, type Found, foundOf, onlyOwn } from './found.ts';

/** Paths of the original. */
const root = '/api/anomaly';
const route = ownRoute(`${root}/*`);
/** Bytes of a body at most. */
const longestBody = 16_384;
/** Entries of a page: those asked for, at most so many, else the default. */
const pageSize = { most: 100, usual: 20 };
/** Scores from which a detection counts as of high risk. */
const highRisk = 70;
/** Records of a device or an address whose callers are looked at. */
const mostLooked = 2000;

/** The original's words for the states of findings. `over` counts as resolved. */
const statuses = { open: 'detected', acknowledged: 'reviewing', undone: 'resolved', false_positive: 'false_positive', over: 'resolved' } as const satisfies Record<Finding['state'], string>;
/** The original's words for actions. */
const actions = { none: 'none', flag: 'alert', slow: 'rate_limit', limit: 'rate_limit', freeze: 'block' } as const satisfies Record<Action, string>;
/** What its words ask for. */
const asked: Readonly<Record<string, Action>> = { none: 'none', alert: 'flag', rate_limit: 'limit', block: 'freeze' };

/** What a request may not ask for: answered as `success: false`. */
class Refused extends Error {}

/** What an answer holds, and what of it is missing. */
interface Told {
  readonly data: object;
  readonly message?: string;
}

/** Answers `/api/anomaly/*` as the original did: its paths, parameters, words and envelopes, over the findings of the watch. */
export class OriginalApi {
  readonly #services: AdminServices;
  readonly #guard: BearerGuard;

  constructor(services: AdminServices) {
    const { core } = services;
    this.#services = services;
    this.#guard = new BearerGuard(core, 'original-api', core.config.admin.token === null ? [] : [core.config.admin.token], 'admin.auth_failed');
  }

  /** Whether a path is one of the original's. */
  owns({ path }: Context): boolean {
    return path.startsWith(root) && (path.length === root.length || path[root.length] === '/');
  }

  answer(context: Context): void {
    context.route = route;
    underway(context, this.#serve(context));
  }

  async #serve(context: Context): Promise<void> {
    context.extraHead = ['Cache-Control', 'no-store'];
    const refusal = this.#guard.check(context);
    if (refusal !== null) {
      context.outcome = 'refused';
      context.errorCode = refusal.code;
      if (refusal.status === 401) context.extraHead.push('WWW-Authenticate', 'Bearer');
      return send(context, refusal.status, { success: false, message: refusal.message });
    }
    try {
      await this.#services.registry.ready();
      const { data, message = '' } = await this.#ask(context);
      send(context, 200, { success: true, message, data });
    } catch (error) {
      if (error instanceof Refused || (error instanceof HeimdallError && error.status < 500)) return send(context, 200, { success: false, message: error.message });
      if (error instanceof HeimdallError) {
        context.errorCode = error.code;
        return send(context, error.status, { success: false, message: error.message });
      }
      this.#services.core.log.error({ requestId: context.id, error: describe(error) }, 'request.panic');
      send(context, 500, { success: false, message: 'The gateway failed.' });
    }
  }

  async #ask(context: Context): Promise<Told> {
    const { method = 'GET' } = context.req;
    const query = new URLSearchParams(context.query);
    const [what, id = '', part] = segmentsOf(context.path);
    const call = `${method === 'HEAD' ? 'GET' : method} ${what}${id === '' ? '' : '/:id'}${part === undefined ? '' : `/${part}`}`;
    switch (call) {
      case 'GET detections':
        return this.#list(query);
      case 'GET detections/:id':
        return told(await findingOf(id, this.#services));
      case 'PUT detections/:id/status':
        return told(await this.#setStatus(context, id, await this.#word(context, 'status')));
      case 'PUT detections/:id/action':
        return told(await this.#setAction(context, id, await this.#word(context, 'action')));
      case 'GET statistics':
        return this.#statistics(query);
      case 'GET device-aggregation':
        return this.#aggregation('device_fingerprint', named(query, 'device_fingerprint'), query);
      case 'GET ip-aggregation':
        return this.#aggregation('real_ip', named(query, 'ip'), query);
      case 'POST trigger/:id':
        if (!/^\d{1,18}$/.test(id)) throw new Refused('user_id: expected a number');
        return { data: { triggered: true } };
      default:
        throw new Refused('There is nothing at this path.');
    }
  }

  async #list(query: URLSearchParams): Promise<Told> {
    const { page, size } = pageOf(query);
    const status = query.get('status') ?? '';
    if (status !== '' && !(Object.values(statuses) as string[]).includes(status)) throw new Refused('status: expected detected, reviewing, resolved or false_positive');
    const least = numberOf(query, 'min_risk_score') ?? 0;
    const { found, problem } = await foundOf(this.#services);
    const all = found.filter(({ finding: { score, state } }) => score >= least && (status === '' || statuses[state] === status));
    return { data: { detections: all.slice((page - 1) * size, page * size).map(detectionOf), total: all.length, page, page_size: size }, message: problem ?? '' };
  }

  async #statistics(query: URLSearchParams): Promise<Told> {
    const [from, to] = [numberOf(query, 'start_time') ?? 0, numberOf(query, 'end_time') ?? Number.MAX_SAFE_INTEGER];
    const { found, problem } = await foundOf(this.#services);
    const scores = found.flatMap(({ finding: { since, score } }) => (since / 1000 >= from && since / 1000 <= to ? [score] : []));
    const sum = scores.reduce((total, score) => total + score, 0);
    return { data: { total_anomalies: scores.length, high_risk_count: scores.filter((score) => score >= highRisk).length, avg_risk_score: scores.length === 0 ? 0 : sum / scores.length }, message: problem ?? '' };
  }

  /** SECURITY: the column is one of two names, the value a parameter. */
  async #aggregation(column: 'device_fingerprint' | 'real_ip', value: string, query: URLSearchParams): Promise<Told> {
    const { page, size } = pageOf(query);
    const { records } = this.#services;
    const from = `FROM heimdall_logs WHERE ${column} = ?`;
    const questions: readonly Question[] = [
      () => ({ sql: `SELECT count(*) AS count ${from}`, values: [value] }),
      ({ newest }) => ({ sql: `SELECT ${logColumns.join(', ')} ${from} ORDER BY ${newest} LIMIT ? OFFSET ?`, values: [value, size, (page - 1) * size] }),
      ({ newest }) => ({ sql: `SELECT DISTINCT key_id, token_id, real_ip FROM (SELECT key_id, token_id, real_ip ${from} ORDER BY ${newest} LIMIT ${mostLooked}) AS latest`, values: [value] }),
    ];
    const [[total] = [], rows = [], callers = []] = await Promise.all(questions.map((question) => records.ask(question)));
    const { found, problem } = await foundOf(this.#services);
    const about = found.filter(({ finding }) => isAbout(finding, callers));
    return { data: { logs: rows.map(logOf), logs_total: total?.['count'] ?? 0, anomalies: about.slice((page - 1) * size, page * size).map(detectionOf), anomaly_total: about.length, page, page_size: size }, message: problem ?? '' };
  }

  async #setStatus(context: Context, id: string, word: string): Promise<Found> {
    const { findings } = this.#services;
    const changes: Readonly<Record<string, () => Promise<Finding>>> = {
      detected: () => findings.reopen(id), reviewing: () => findings.acknowledge(id, ''), resolved: () => findings.undo(id, ''), false_positive: () => findings.falsePositive(id, ''),
    };
    const change = Object.hasOwn(changes, word) ? changes[word] : undefined;
    if (change === undefined) throw new Refused('status: expected detected, reviewing, resolved or false_positive');
    await onlyOwn(id, this.#services);
    return this.#changed(context, id, await change());
  }

  async #setAction(context: Context, id: string, word: string): Promise<Found> {
    const action = Object.hasOwn(asked, word) ? asked[word] : undefined;
    if (action === undefined) throw new Refused('action: expected none, alert, rate_limit or block');
    await onlyOwn(id, this.#services);
    return this.#changed(context, id, await this.#services.findings.act(id, action, null, ''));
  }

  #changed(context: Context, id: string, after: Finding): Found {
    const { core, identify } = this.#services;
    const token = identify((context.req.headers.authorization ?? '').replace(/^bearer /i, '')).id;
    core.log.info({ requestId: context.id, ip: context.ip, token, action: 'finding.change', subject: id, before: null, after: { state: after.state, action: after.action } }, 'admin.change');
    return { finding: after, instance: null };
  }

  /** A word of the body. */
  async #word(context: Context, name: string): Promise<string> {
    const bytes = await readBody(context.req, context.res, context.core.log, longestBody);
    const body: unknown = parsed(bytes);
    const word = typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined;
    if (typeof word !== 'string') throw new Refused(`${name}: expected a text`);
    return word;
  }
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new Refused('body: expected a JSON object');
  }
}

function send(context: Context, status: number, body: object): void {
  context.answer(status, ['Content-Type', 'application/json; charset=utf-8'], printableJson(body));
}

function segmentsOf(path: string): string[] {
  try {
    return path.slice(root.length).split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return [];
  }
}

function pageOf(query: URLSearchParams): { readonly page: number; readonly size: number } {
  const [page, size] = [numberOf(query, 'page') ?? 1, numberOf(query, 'page_size') ?? 0];
  return { page: Number.isSafeInteger(page) && page >= 1 && page <= 1_000_000 ? page : 1, size: Number.isSafeInteger(size) && size >= 1 && size <= pageSize.most ? size : pageSize.usual };
}

function numberOf(query: URLSearchParams, name: string): number | null {
  const text = query.get(name) ?? '';
  return text === '' || !Number.isFinite(Number(text)) ? null : Number(text);
}

function named(query: URLSearchParams, name: string): string {
  const value = query.get(name) ?? '';
  if (value === '') throw new Refused(`${name}: expected a value`);
  return value;
}

/** Columns of a record as the original lists it. */
const logColumns = ['id', 'request_id', 'timestamp', 'user_id', 'token_key', 'request_method', 'request_path', 'response_status', 'response_time', 'real_ip', 'forwarded_for', 'user_agent', 'content_fingerprint', 'device_fingerprint', 'created_at'] as const;

const logOf = ({ created_at: created, ...row }: SqlRow): Record<string, unknown> => ({ ...row, user_id: row['user_id'] ?? 0, created_at: timeText(created) });

/** A time as the journal writes it; PostgreSQL gives a date. */
const timeText = (time: unknown): unknown => (time instanceof Date ? time.toISOString().replace('T', ' ').replace('Z', '+00:00') : time);

/** Whether a finding is about one of the callers, or about their network. */
function isAbout({ caller: { kind, id } }: Finding, callers: readonly SqlRow[]): boolean {
  if (kind === 'content') return false;
  if (kind !== 'network') return callers.some((row) => row[kind === 'key' ? 'key_id' : 'token_id'] === id);
  const network = new AddressSet([id]);
  return callers.some(({ real_ip: ip }) => typeof ip === 'string' && ip !== '' && network.has(ip));
}

const told = (found: Found): Told => ({ data: detectionOf(found) });

/** A finding as a detection of the original. Times are Unix seconds. */
function detectionOf({ finding: { id, rule, caller, score, since, last, state, action, evidence, reason, baseline, restsUntil } }: Found): object {
  const seconds = (time: number): number => Math.floor(time / 1000);
  const span = seconds(last) - seconds(since);
  return {
    id, user_id: 0, device_fingerprint: '', ip_address: caller.kind === 'network' ? caller.id : '', anomaly_type: rule, risk_score: score,
    login_count: 0, total_access_count: evidence.requests, access_ratio: 0, api_request_count: evidence.requests,
    time_window_start: seconds(since), time_window_end: seconds(last), average_interval: evidence.requests > 1 ? span / (evidence.requests - 1) : 0,
    status: statuses[state], action: actions[action], description: sentencesOf(rule, reason).en,
    metadata: JSON.stringify({ timestamps: [seconds(since), seconds(last)], access_pattern: caller.kind === 'network' ? 'ip_based' : 'device_based', caller, records: evidence.records, baseline }),
    detected_at: seconds(since), reviewed_at: state === 'open' || state === 'over' ? 0 : seconds(restsUntil === null ? last : restsUntil - 30 * 86_400_000), reviewed_by: 0,
  };
}
