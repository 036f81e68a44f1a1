import type { Writable } from 'node:stream';
import { pino, type DestinationStream } from 'pino';
import type { Logger } from '../../types/logger.d.ts';
import type { LoggingConfig } from '../../types/config.d.ts';
import { consoleOf, systemClock } from '../platform/platform.ts';
import { readableLog } from './readable.ts';

/** Categories and types of the Elastic Common Schema 8, `event.category` and `event.type`. */
type Category = 'authentication' | 'configuration' | 'database' | 'file' | 'iam' | 'network' | 'process' | 'threat' | 'web';
type Type = 'access' | 'admin' | 'change' | 'connection' | 'creation' | 'deletion' | 'denied' | 'end' | 'error' | 'info' | 'start';

/** One event of the table. */
export interface EventRow {
  readonly category: Category;
  readonly type: Type;
  readonly outcome?: 'success' | 'failure';
  /** The event is sent as an alert. */
  readonly alert?: true;
  /** The alert that this event ends. */
  readonly ends?: string;
  /** The condition it reports. */
  readonly what: string;
}

/** Every event of the gate, as a basis for the rules of a SIEM, in the order of the chain. */
export const events = {
  'config.reloaded': { category: 'configuration', type: 'change', outcome: 'success', ends: 'config.refused', what: 'the configuration was read again and is in force, but for the keys that need a restart' },
  'config.refused': { category: 'configuration', type: 'error', outcome: 'failure', alert: true, what: 'the configuration was read again and cannot be used, so the one before stays in force' },
  'config.warning': { category: 'configuration', type: 'info', what: 'a setting is allowed but unwise' },
  'secret.in_memory': { category: 'configuration', type: 'error', outcome: 'failure', what: 'the install secret could not be kept, so identities change at every start' },
  'secret.exposed': { category: 'configuration', type: 'info', what: 'other users of this machine can read the install secret' },
  'address.untrusted_proxy': { category: 'configuration', type: 'info', what: 'a proxy that trust_proxy does not name sends forwarded headers; once per proxy' },
  'address.collapse': { category: 'configuration', type: 'error', outcome: 'failure', alert: true, what: 'most requests have the address of an untrusted proxy, so the address limit stops for it' },
  'attach.limited': { category: 'configuration', type: 'info', what: 'a setting needs a server made by createServer' },
  'host.body_parsed': { category: 'configuration', type: 'info', what: 'the host parsed a body first, so it was serialised again' },
  'auth.no_keys': { category: 'configuration', type: 'info', what: 'there is no key yet, so every credentialed request is refused' },
  'guard.refused': { category: 'network', type: 'denied', outcome: 'failure', what: 'an address, a token or a key was refused; at most once a minute per ban and list' },
  'ban.added': { category: 'iam', type: 'creation', outcome: 'success', what: 'a ban was added or changed' },
  'ban.removed': { category: 'iam', type: 'deletion', outcome: 'success', what: 'a ban was removed' },
  'ban.expired': { category: 'iam', type: 'end', what: 'a ban has expired' },
  'finding.raised': { category: 'threat', type: 'info', alert: true, what: 'the watch found a caller or a network that behaves like a shared, stolen or abused key' },
  'finding.action': { category: 'threat', type: 'change', what: 'the action of a finding changed' },
  'finding.acknowledged': { category: 'threat', type: 'admin', what: 'an operator confirmed a finding' },
  'finding.reopened': { category: 'threat', type: 'admin', what: 'an operator took back what was said of a finding' },
  'finding.undone': { category: 'threat', type: 'admin', what: 'an operator ended the action of a finding' },
  'finding.false_positive': { category: 'threat', type: 'admin', what: 'an operator called a finding wrong' },
  'finding.lost': { category: 'database', type: 'error', outcome: 'failure', what: 'a finding could not be stored; it is reported again with the next request' },
  'tokens.lost': { category: 'database', type: 'error', outcome: 'failure', what: 'tokens of NewAPI that were accepted could not be noted, so that a report of leaked keys may not find them' },
  'watch.refused': { category: 'configuration', type: 'info', outcome: 'failure', what: 'a message to the watch in Redis is of no instance; further ones are only counted' },
  'watch.alone': { category: 'configuration', type: 'info', what: 'instances of the gate do not tell each other of callers, so that the watch of each sees its own part' },
  'watch.mmdb': { category: 'file', type: 'error', what: 'the file of anomaly.mmdb cannot be used, so that the watch knows no places; or it can again' },
  'finding.cut': { category: 'threat', type: 'denied', outcome: 'success', what: 'a running request was cut off because its caller was frozen' },
  'anomaly.failed': { category: 'process', type: 'error', outcome: 'failure', alert: true, what: 'the watch failed and judges nothing until the next start' },
  'ban.cut': { category: 'threat', type: 'denied', outcome: 'success', what: 'a running request was cut off because of a new ban' },
  'key.created': { category: 'iam', type: 'creation', outcome: 'success', what: 'a gateway key was created' },
  'key.rotated': { category: 'iam', type: 'change', outcome: 'success', what: 'a gateway key was replaced by a new one of the same name' },
  'key.disabled': { category: 'iam', type: 'change', outcome: 'success', what: 'a gateway key is refused from now on' },
  'key.enabled': { category: 'iam', type: 'change', outcome: 'success', what: 'a disabled gateway key is accepted again' },
  'key.expiry_changed': { category: 'iam', type: 'change', outcome: 'success', what: 'the expiry of a gateway key was changed' },
  'key.expired': { category: 'iam', type: 'end', what: 'a gateway key, or the previous key of a rotation, has expired' },
  'key.revoked': { category: 'iam', type: 'deletion', outcome: 'success', what: 'a gateway key was revoked' },
  'key.cut': { category: 'iam', type: 'denied', outcome: 'success', what: 'a running request was cut off because its key is no longer valid' },
  'key.shadowed': { category: 'configuration', type: 'error', outcome: 'failure', what: 'a key of the registry has the name of a configured key and is ignored' },
  'key.credential_unreadable': { category: 'configuration', type: 'error', outcome: 'failure', what: 'no install secret decrypts the upstream credential of a key' },
  'registry.loaded': { category: 'configuration', type: 'start', outcome: 'success', what: 'keys and bans were read for the first time' },
  'registry.unreadable': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'keys and bans cannot be read; the known ones stay in force' },
  'registry.back': { category: 'database', type: 'info', outcome: 'success', ends: 'registry.unreadable', what: 'keys and bans can be read again' },
  'registry.damaged': { category: 'database', type: 'error', outcome: 'failure', what: 'stored keys or bans are invalid and are ignored' },
  'registry.restored': { category: 'database', type: 'change', outcome: 'success', what: 'Redis had lost keys and bans, and the known ones were written back' },
  'prices.loaded': { category: 'configuration', type: 'info', outcome: 'success', what: 'a NewAPI has told its prices' },
  'prices.failed': { category: 'configuration', type: 'error', outcome: 'failure', what: 'a NewAPI does not tell its prices; once until it does' },
  'prices.file': { category: 'file', type: 'error', outcome: 'failure', what: 'the file of prices cannot be written' },
  'budget.warning': { category: 'web', type: 'info', alert: true, what: 'a caller has spent 80 % of a budget' },
  'budget.unpriced': { category: 'configuration', type: 'info', what: 'a budget does not limit models whose price is unknown' },
  'budget.reached': { category: 'web', type: 'denied', alert: true, what: 'a caller has spent a budget' },
  'limits.store_down': { category: 'database', type: 'error', outcome: 'failure', what: 'the shared store of limits does not answer' },
  'limits.store_up': { category: 'database', type: 'info', outcome: 'success', what: 'limits are shared again' },
  'limits.skip_failed': { category: 'configuration', type: 'error', outcome: 'failure', what: 'skip of the embedding program failed, so limits apply' },
  'limits.file': { category: 'file', type: 'error', outcome: 'failure', what: 'the file of used budgets cannot be written or read' },
  'queue.config_wins': { category: 'configuration', type: 'info', what: 'the saved capacity was dropped because the configuration has changed' },
  'queue.interrupted': { category: 'process', type: 'info', what: 'requests were in flight when the previous process ended' },
  'queue.state_absent': { category: 'file', type: 'info', what: 'there is no saved state of the queue' },
  'queue.failed': { category: 'web', type: 'error', outcome: 'failure', what: 'a queued request could not be resumed' },
  'auth.identify_failed': { category: 'authentication', type: 'error', outcome: 'failure', what: 'identify of the embedding program failed, so the request was refused' },
  'auth.failed': { category: 'authentication', type: 'denied', outcome: 'failure', what: 'a credential was refused' },
  'auth.jwks_unavailable': { category: 'authentication', type: 'error', outcome: 'failure', alert: true, what: 'the keys of the JWT issuer cannot be fetched' },
  'auth.jwks_back': { category: 'authentication', type: 'info', outcome: 'success', ends: 'auth.jwks_unavailable', what: 'the keys of the JWT issuer can be fetched again' },
  'auth.jwks_rotated': { category: 'authentication', type: 'change', outcome: 'success', what: 'the JWT issuer has replaced its keys' },
  'admin.auth_failed': { category: 'authentication', type: 'denied', outcome: 'failure', what: 'a token of the admin API was refused' },
  'names.failed': { category: 'web', type: 'error', outcome: 'failure', what: 'NewAPI did not tell the names of callers' },
  'names.refused': { category: 'configuration', type: 'denied', outcome: 'failure', what: 'newapi.access_token is not one of an administrator' },
  'admin.login': { category: 'authentication', type: 'start', outcome: 'success', what: 'an administrator logged in to the page' },
  'admin.logout': { category: 'authentication', type: 'end', outcome: 'success', what: 'an administrator logged out of the page' },
  'job.failed': { category: 'process', type: 'error', outcome: 'failure', what: 'an export, a verification or an erasure that an administrator began has failed' },
  'admin.change': { category: 'iam', type: 'change', outcome: 'success', what: 'an administrator changed a key, a ban or the queue' },
  'admin.closed': { category: 'configuration', type: 'info', what: 'gate.admin is mounted and accepts no caller' },
  'admin.not_listening': { category: 'configuration', type: 'error', outcome: 'failure', what: 'the port of the admin API is in use' },
  'admin.reader_dropped': { category: 'web', type: 'end', what: 'a reader of the event stream was too slow' },
  'resources.short': { category: 'process', type: 'error', outcome: 'failure', alert: true, what: 'a resource of the machine is exhausted and new work is refused' },
  'resources.recovered': { category: 'process', type: 'info', outcome: 'success', ends: 'resources.short', what: 'the resource is available again' },
  'redis.cluster': { category: 'database', type: 'info', what: 'the Redis of the limits is a cluster, whose servers are asked by slot' },
  'redis.lost': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'Redis cannot be reached' },
  'redis.back': { category: 'database', type: 'info', outcome: 'success', ends: 'redis.lost', what: 'Redis answers again' },
  'target.up': { category: 'network', type: 'info', outcome: 'success', ends: 'target.open', what: 'a target receives requests again' },
  'target.resting': { category: 'network', type: 'info', what: 'a target asked for a pause' },
  'target.open': { category: 'network', type: 'error', outcome: 'failure', alert: true, what: 'a target failed too often and receives no requests' },
  'target.probing': { category: 'network', type: 'info', what: 'a target is tested with a few requests' },
  'route.healthy': { category: 'network', type: 'info', outcome: 'success', ends: 'route.unhealthy', what: 'the checks of a configured route pass again' },
  'route.degraded': { category: 'network', type: 'info', what: 'the upstream of a configured route answers too slowly' },
  'route.unhealthy': { category: 'network', type: 'error', outcome: 'failure', alert: true, what: 'no upstream of a configured route answers, so requests get 503' },
  'provider.failed': { category: 'process', type: 'error', outcome: 'failure', what: 'a function of a custom provider threw an error' },
  'upstream.failed': { category: 'network', type: 'error', outcome: 'failure', what: 'an attempt failed' },
  'upstream.credential_refused': { category: 'authentication', type: 'error', outcome: 'failure', what: 'a target refused the gate\'s own credential' },
  'engine.down': { category: 'process', type: 'error', outcome: 'failure', alert: true, what: 'Caddy, which speaks HTTP/3, is missing, has ended or does not answer; TCP goes on, and it is started again' },
  'engine.up': { category: 'process', type: 'info', outcome: 'success', ends: 'engine.down', what: 'HTTP/3 is served again' },
  'connection.flood': { category: 'network', type: 'denied', outcome: 'failure', what: 'a connection of HTTP/2 was closed, since its client only causes work: `resets` of streams, or `control` frames beside requests' },
  'certificate.expiring': { category: 'configuration', type: 'info', alert: true, what: 'the last third of the validity of the certificate that is served has begun, or it has expired' },
  'certificate.renewed': { category: 'configuration', type: 'change', outcome: 'success', ends: 'certificate.expiring', what: 'the files of the certificate have changed, and new connections get the new one' },
  'certificate.refused': { category: 'configuration', type: 'error', outcome: 'failure', alert: true, what: 'a new certificate or its key cannot be used, so the one before is served on' },
  'worker.failed': { category: 'process', type: 'error', outcome: 'failure', alert: true, what: 'a thread that serves has failed or was stuck: its requests are lost, and another one takes its place' },
  'worker.started': { category: 'process', type: 'start', outcome: 'success', ends: 'worker.failed', what: 'another thread serves in place of one that had failed' },
  'listener.failed': { category: 'network', type: 'error', outcome: 'failure', what: 'a connection could not be accepted, as where no file is left for it; at most once a minute' },
  'process.signal': { category: 'process', type: 'info', what: 'a signal came that ends nothing' },
  'alert.failed': { category: 'network', type: 'error', outcome: 'failure', what: 'the webhook did not accept an alert' },
  'access_log.failed': { category: 'file', type: 'error', outcome: 'failure', what: 'the access log cannot be written' },
  'journal.memory': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the file of the journal cannot be used, so the latest records are kept in memory until it can' },
  'journal.waiting': { category: 'database', type: 'info', what: 'another process has the file of the journal for itself, so the latest records are kept in memory until it is free' },
  'journal.opened': { category: 'database', type: 'info', outcome: 'success', ends: 'journal.memory', what: 'the file of the journal can be used, and what was kept in memory is written to it' },
  'journal.exposed': { category: 'database', type: 'info', what: 'the file of the journal belongs to another user, who decides on its permissions' },
  'journal.failed': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal cannot be opened and the gate may not serve without it' },
  'journal.full': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal cannot be written' },
  'journal.recovered': { category: 'database', type: 'info', outcome: 'success', ends: 'journal.full', what: 'the journal can be written again' },
  'journal.worker_failed': { category: 'process', type: 'error', outcome: 'failure', what: 'the thread that writes the journal ended' },
  'journal.dropped': { category: 'database', type: 'error', outcome: 'failure', what: 'records were lost, or removed before their retention ended' },
  'journal.interrupted': { category: 'database', type: 'info', what: 'requests that were in flight when a process ended were recorded' },
  'journal.retention_waits': { category: 'database', type: 'info', alert: true, what: 'records seem to be older than their retention by a clock that may have jumped; they are removed when it has been steady for an hour' },
  'journal.checkpoint': { category: 'database', type: 'info', outcome: 'success', what: 'the state of the journal was signed; store it in another place' },
  'journal.tampered': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal differs from its last signed state' },
  'sink.held': { category: 'database', type: 'error', outcome: 'failure', what: 'a sink does not accept records; they wait in the journal and are retried' },
  'sink.lagging': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'a sink is far behind the journal, or has accepted nothing for half a minute' },
  'sink.caught_up': { category: 'database', type: 'info', outcome: 'success', ends: 'sink.lagging', what: 'a sink that was held or lagging has caught up' },
  'sink.refused': { category: 'database', type: 'error', outcome: 'failure', what: 'a sink refused records for good and they were set aside; at most once a minute' },
  'sink.lacks': { category: 'database', type: 'info', outcome: 'failure', what: 'the tables of a sink lack something that its role may not add; `sql` adds it, and until then it is left out; once per start' },
  'finding.not_copied': { category: 'database', type: 'error', outcome: 'failure', what: 'findings could not be written to audit.postgres, where the pages of other instances read them; it is tried again' },
  'sink.facts': { category: 'database', type: 'info', outcome: 'failure', what: 'a sink could not be told what was learnt about its records; it is told again' },
  'sink.off': { category: 'database', type: 'end', outcome: 'failure', what: 'the sink has no receiver and is switched off until the next start' },
  'request.panic': { category: 'web', type: 'error', outcome: 'failure', what: 'a part of the gate threw an error' },
  'callback.failed': { category: 'process', type: 'error', outcome: 'failure', what: 'a callback outside requests threw an error; once until it succeeds again' },
  'finish.failed': { category: 'web', type: 'error', outcome: 'failure', what: 'a step at the end of a request failed' },
  'drain.cut': { category: 'process', type: 'end', what: 'requests were cut off because the time for draining was over' },
} as const satisfies Record<string, EventRow>;

/** Names an event. */
export type EventName = keyof typeof events;

/** Severity of an event. */
export type Level = keyof Logger;

/** Called with every event, whatever `logging.level` is. */
export type Listener = (level: Level, fields: object, event: string) => void;

/**
 * A log that also calls listeners. Neither can throw through it.
 * @param listeners read at every event, so that one may be added later. @param clean masks the fields of an event.
 */
export function tee(log: Logger, listeners: readonly Listener[], clean: (fields: object) => object): Logger {
  const at = (level: Level) => (sent: object, event: string): void => {
    const fields = attempt(() => clean(sent)) ?? {};
    for (const listener of listeners) attempt(() => listener(level, fields, event));
    attempt(() => log[level](fields, event));
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** An event is said from everywhere: a log or a listener that throws must not end what says it. */
function attempt<T>(action: () => T): T | null {
  try {
    return action();
  } catch {
    return null;
  }
}

/** The event log of a gate, under the configuration in force. */
export class EventLog implements Logger {
  readonly #standalone: boolean;
  #log: Logger;

  /** @param standalone whether the process belongs to the gate: without `logging.console` it then writes to standard output. */
  constructor(logging: LoggingConfig, standalone: boolean) {
    this.#standalone = standalone;
    this.#log = this.#logOf(logging);
  }

  configure(logging: LoggingConfig): void {
    this.#log = this.#logOf(logging);
  }

  debug(fields: object, event: string): void {
    this.#log.debug(fields, event);
  }

  info(fields: object, event: string): void {
    this.#log.info(fields, event);
  }

  warn(fields: object, event: string): void {
    this.#log.warn(fields, event);
  }

  error(fields: object, event: string): void {
    this.#log.error(fields, event);
  }

  #logOf(logging: LoggingConfig): Logger {
    return eventLog(logging, logging.console ?? this.#standalone);
  }
}

/** Fields with a name in the schema; the others are placed below `heimdall`. */
const places: Readonly<Record<string, string>> = { requestId: 'http.request.id', ip: 'source.ip', code: 'error.code', stack: 'error.stack_trace' };
/** Fields of an error as `describe` returns it. */
const errorPlaces: Readonly<Record<string, string>> = { name: 'error.type', message: 'error.message', code: 'error.code' };

/** Streams whose errors are listened for. */
const heard = new WeakSet<Writable>();

/**
 * The event log as JSON lines in the names of the Elastic Common Schema 8.17: `@timestamp`, `log.level`, `message` (the
 * event's name), `event.*`, `source.ip`, `http.request.id`, `error.*`; fields without a name in the schema are placed below
 * `heimdall`.
 * @param isConsole writes to standard output, else to standard error; a terminal gets lines in a readable form. @param to another destination of the lines.
 */
export function eventLog({ level }: Pick<LoggingConfig, 'level'>, isConsole: boolean, to?: DestinationStream): Logger {
  if (to === undefined) {
    const stream = isConsole ? process.stdout : process.stderr;
    // A reader that is gone ends nothing.
    if (!heard.has(stream)) stream.on('error', () => undefined);
    heard.add(stream);
    const console = consoleOf(stream);
    return console.isTerminal ? readableLog(level, console) : eventLog({ level }, isConsole, { write: (line) => void console.write(line) });
  }
  const options = {
    level,
    base: null,
    messageKey: 'message',
    timestamp: () => `,"@timestamp":"${new Date(systemClock.now()).toISOString()}"`,
    formatters: { level: (label: string) => ({ 'log.level': label }) },
  };
  const log = pino(options, to);
  return {
    debug: (fields, event) => log.debug(inSchema(fields, event), event),
    info: (fields, event) => log.info(inSchema(fields, event), event),
    warn: (fields, event) => log.warn(inSchema(fields, event), event),
    error: (fields, event) => log.error(inSchema(fields, event), event),
  };
}

function inSchema(fields: object, name: string): object {
  const row: EventRow | undefined = Object.hasOwn(events, name) ? events[name as EventName] : undefined;
  const line: Record<string, unknown> = { 'ecs.version': '8.17.0', 'service.name': 'heimdall', 'event.kind': 'event', 'event.action': name };
  if (row !== undefined) Object.assign(line, { 'event.category': [row.category], 'event.type': [row.type], ...(row.outcome ? { 'event.outcome': row.outcome } : {}) });
  const own: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(fields)) {
    const place = places[field];
    if (place !== undefined) line[place] = value;
    else if ((field === 'error' || field === 'cause') && typeof value === 'object' && value !== null) placeError(value, line);
    else own[field] = value;
  }
  return Object.keys(own).length === 0 ? line : { ...line, heimdall: own };
}

function placeError(error: object, line: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(error)) {
    const place = errorPlaces[field];
    if (place !== undefined) line[place] = value;
  }
}
