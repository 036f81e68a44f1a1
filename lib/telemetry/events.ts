import { pino, type DestinationStream } from 'pino';
import type { Logger } from '../../types/logger.d.ts';
import type { LoggingConfig } from '../../types/config.d.ts';

/** Categories and types of the Elastic Common Schema 8, `event.category` and `event.type`. */
type Category = 'authentication' | 'configuration' | 'database' | 'file' | 'iam' | 'network' | 'process' | 'threat' | 'web';
type Type = 'access' | 'admin' | 'change' | 'connection' | 'creation' | 'deletion' | 'denied' | 'end' | 'error' | 'info' | 'start';

/** One event of the table. */
export interface EventRow {
  readonly category: Category;
  readonly type: Type;
  readonly outcome?: 'success' | 'failure';
  /** Somebody should be told at once; or, with `ends`, that it is over. */
  readonly alert?: true;
  /** The alert that is over with it. */
  readonly ends?: string;
  /** When it is said. */
  readonly what: string;
}

/** Every event the gate names: what a rule of a SIEM can be made of. Their order is that of the chain. */
export const events = {
  'config.warning': { category: 'configuration', type: 'info', what: 'a setting is allowed but unwise' },
  'secret.in_memory': { category: 'configuration', type: 'error', outcome: 'failure', what: 'the install secret could not be kept, so identities change at every start' },
  'secret.exposed': { category: 'configuration', type: 'info', what: 'others on this machine can read the install secret' },
  'address.untrusted_proxy': { category: 'configuration', type: 'info', what: 'a proxy that is not trusted says who its clients are; once for each' },
  'address.collapse': { category: 'configuration', type: 'error', outcome: 'failure', alert: true, what: 'most callers have the address of a proxy that is not trusted, so limits by address stop' },
  'attach.limited': { category: 'configuration', type: 'info', what: 'a setting needs a server made by createServer' },
  'host.body_parsed': { category: 'configuration', type: 'info', what: 'the host parsed a body first, so it was serialised again' },
  'auth.no_keys': { category: 'configuration', type: 'info', what: 'nobody can be let in yet' },
  'guard.refused': { category: 'network', type: 'denied', outcome: 'failure', what: 'an address, a token or a key was refused; once a minute for each ban and list' },
  'ban.added': { category: 'iam', type: 'creation', outcome: 'success', what: 'somebody was banned, or the ban changed' },
  'ban.removed': { category: 'iam', type: 'deletion', outcome: 'success', what: 'a ban was taken back' },
  'ban.expired': { category: 'iam', type: 'end', what: 'a ban came to its end' },
  'ban.cut': { category: 'threat', type: 'denied', outcome: 'success', what: 'a request under way was ended because of a new ban' },
  'key.created': { category: 'iam', type: 'creation', outcome: 'success', what: 'a gateway key was made' },
  'key.rotated': { category: 'iam', type: 'change', outcome: 'success', what: 'a gateway key was replaced by a new one of the same name' },
  'key.disabled': { category: 'iam', type: 'change', outcome: 'success', what: 'a gateway key is refused from now on' },
  'key.enabled': { category: 'iam', type: 'change', outcome: 'success', what: 'a disabled gateway key is good again' },
  'key.expiry_changed': { category: 'iam', type: 'change', outcome: 'success', what: 'a gateway key ends at another time' },
  'key.expired': { category: 'iam', type: 'end', what: 'a gateway key, or the one it replaced, came to its end' },
  'key.revoked': { category: 'iam', type: 'deletion', outcome: 'success', what: 'a gateway key was taken away' },
  'key.cut': { category: 'iam', type: 'denied', outcome: 'success', what: 'a request under way was ended because its key is good no longer' },
  'key.shadowed': { category: 'configuration', type: 'error', outcome: 'failure', what: 'a key of the registry has the name of a configured one and does not count' },
  'key.credential_unreadable': { category: 'configuration', type: 'error', outcome: 'failure', what: 'no install secret opens the upstream credential of a key' },
  'registry.loaded': { category: 'configuration', type: 'start', outcome: 'success', what: 'keys and bans were read for the first time' },
  'registry.unreadable': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'keys and bans cannot be read; what is known stays in force' },
  'registry.back': { category: 'database', type: 'info', outcome: 'success', ends: 'registry.unreadable', what: 'keys and bans can be read again' },
  'registry.damaged': { category: 'database', type: 'error', outcome: 'failure', what: 'stored keys or bans make no sense and do not count' },
  'registry.restored': { category: 'database', type: 'change', outcome: 'success', what: 'Redis had lost keys and bans, and got back what was known' },
  'limits.store_down': { category: 'database', type: 'error', outcome: 'failure', what: 'the store that instances share for limits does not answer' },
  'limits.store_up': { category: 'database', type: 'info', outcome: 'success', what: 'limits are shared again' },
  'limits.file': { category: 'file', type: 'error', outcome: 'failure', what: 'what budgets have used cannot be kept or read' },
  'queue.config_wins': { category: 'configuration', type: 'info', what: 'the capacity kept from the run before gives way to a configuration that was edited' },
  'queue.interrupted': { category: 'process', type: 'info', what: 'requests were in hand when the gate ended last' },
  'queue.state_absent': { category: 'file', type: 'info', what: 'there is no state of the queue yet' },
  'queue.failed': { category: 'web', type: 'error', outcome: 'failure', what: 'a request could not be let go on from the queue' },
  'auth.failed': { category: 'authentication', type: 'denied', outcome: 'failure', what: 'a credential was refused' },
  'auth.jwks_unavailable': { category: 'authentication', type: 'error', outcome: 'failure', alert: true, what: 'the keys of the issuer of JWTs cannot be fetched' },
  'auth.jwks_back': { category: 'authentication', type: 'info', outcome: 'success', ends: 'auth.jwks_unavailable', what: 'they can be fetched again' },
  'auth.jwks_rotated': { category: 'authentication', type: 'change', outcome: 'success', what: 'the issuer of JWTs has other keys' },
  'admin.auth_failed': { category: 'authentication', type: 'denied', outcome: 'failure', what: 'a token of the admin API was refused' },
  'admin.change': { category: 'iam', type: 'change', outcome: 'success', what: 'an administrator changed a key, a ban or the queue' },
  'admin.closed': { category: 'configuration', type: 'info', what: 'gate.admin is mounted and lets nobody in' },
  'admin.not_listening': { category: 'configuration', type: 'error', outcome: 'failure', what: 'the port after the gate\'s is not free for the admin API' },
  'admin.reader_dropped': { category: 'web', type: 'end', what: 'a reader of the event stream did not keep up' },
  'resources.short': { category: 'process', type: 'error', outcome: 'failure', alert: true, what: 'the machine is short of something and new work is refused' },
  'resources.recovered': { category: 'process', type: 'info', outcome: 'success', ends: 'resources.short', what: 'the machine has enough of it again' },
  'redis.lost': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'Redis cannot be reached' },
  'redis.back': { category: 'database', type: 'info', outcome: 'success', ends: 'redis.lost', what: 'Redis answers again' },
  'target.up': { category: 'network', type: 'info', outcome: 'success', ends: 'target.open', what: 'a target takes requests again' },
  'target.resting': { category: 'network', type: 'info', what: 'a target asked to be left alone for a while' },
  'target.open': { category: 'network', type: 'error', outcome: 'failure', alert: true, what: 'a target failed too often and gets no requests' },
  'target.probing': { category: 'network', type: 'info', what: 'a target is tested with a few requests' },
  'route.healthy': { category: 'network', type: 'info', outcome: 'success', ends: 'route.unhealthy', what: 'the checks of a configured route pass again' },
  'route.degraded': { category: 'network', type: 'info', what: 'what serves a configured route answers too slowly' },
  'route.unhealthy': { category: 'network', type: 'error', outcome: 'failure', alert: true, what: 'nothing that can serve a configured route answers, so it is answered with 503' },
  'provider.failed': { category: 'process', type: 'error', outcome: 'failure', what: 'a function of a provider from code threw' },
  'upstream.failed': { category: 'network', type: 'error', outcome: 'failure', what: 'an attempt failed' },
  'upstream.credential_refused': { category: 'authentication', type: 'error', outcome: 'failure', what: 'a target did not accept our own credential' },
  'certificate.expiring': { category: 'configuration', type: 'info', alert: true, what: 'the certificate ends within two weeks, or has ended' },
  'alert.failed': { category: 'network', type: 'error', outcome: 'failure', what: 'the webhook for alerts did not take one' },
  'access_log.failed': { category: 'file', type: 'error', outcome: 'failure', what: 'the access log cannot be written' },
  'journal.memory': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal\'s file cannot be used, so only the latest records are kept' },
  'journal.failed': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal cannot be opened and the gate may not serve without it' },
  'journal.full': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'nothing can be written to the journal just now' },
  'journal.recovered': { category: 'database', type: 'info', outcome: 'success', ends: 'journal.full', what: 'the journal can be written again' },
  'journal.worker_failed': { category: 'process', type: 'error', outcome: 'failure', what: 'the thread that writes the journal ended' },
  'journal.dropped': { category: 'database', type: 'error', outcome: 'failure', what: 'records were lost, or removed before their time' },
  'journal.interrupted': { category: 'database', type: 'info', what: 'requests that were in hand when the gate ended last were recorded' },
  'journal.checkpoint': { category: 'database', type: 'info', outcome: 'success', what: 'the state of the journal was signed: keep it elsewhere' },
  'journal.tampered': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'the journal is not what it was when it was signed last' },
  'sink.held': { category: 'database', type: 'error', outcome: 'failure', what: 'a sink does not take records; they wait in the journal and are tried again' },
  'sink.lagging': { category: 'database', type: 'error', outcome: 'failure', alert: true, what: 'a sink is far behind the journal, or has taken nothing for half a minute' },
  'sink.caught_up': { category: 'database', type: 'info', outcome: 'success', ends: 'sink.lagging', what: 'a sink that was held or behind has what it missed' },
  'sink.refused': { category: 'database', type: 'error', outcome: 'failure', what: 'a sink can never take some records, which were set aside; at most once a minute' },
  'sink.off': { category: 'database', type: 'end', outcome: 'failure', what: 'there is nobody to take records, so the sink is not asked until the next start' },
  'request.panic': { category: 'web', type: 'error', outcome: 'failure', what: 'a part of the gate threw' },
  'finish.failed': { category: 'web', type: 'error', outcome: 'failure', what: 'a finished request could not be put away whole' },
  'drain.cut': { category: 'process', type: 'end', what: 'requests were cut because the time to finish them was over' },
} as const satisfies Record<string, EventRow>;

/** Names an event. */
export type EventName = keyof typeof events;

/** How much an event matters. */
export type Level = keyof Logger;

/** Hears every event, whatever of it is logged. */
export type Listener = (level: Level, fields: object, event: string) => void;

/** The log, and all who listen to it. @param listeners looked at anew with every event. */
export function tee(log: Logger, listeners: readonly Listener[]): Logger {
  const at = (level: Level) => (fields: object, event: string): void => {
    for (const listener of listeners) listener(level, fields, event);
    log[level](fields, event);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** Our fields that have a place of their own in the schema; the others lie below `heimdall`. */
const places: Readonly<Record<string, string>> = { requestId: 'http.request.id', ip: 'source.ip', code: 'error.code', stack: 'error.stack_trace' };
/** Of an error as `describe` shows it. */
const errorPlaces: Readonly<Record<string, string>> = { name: 'error.type', message: 'error.message', code: 'error.code' };

/**
 * The event log as JSON lines in the names of the Elastic Common Schema 8.17: `@timestamp`, `log.level`, `message` (the
 * event's name), `event.*`, `source.ip`, `http.request.id`, `error.*`; what the schema has no name for lies below `heimdall`.
 * @param to where the lines go; standard output by default.
 */
export function eventLog({ level }: LoggingConfig, to?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    messageKey: 'message',
    timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ 'log.level': label }) },
  };
  const log = to === undefined ? pino(options) : pino(options, to);
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
