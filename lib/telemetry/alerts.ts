import { createHmac } from 'node:crypto';
import { hostname } from 'node:os';
import type { Clock, Timer } from '../../types/clock.d.ts';
import type { AlertsConfig } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { codeOf, inBackground, type OutboundProxy } from '../platform/platform.ts';
import { type AlertMessage, problemIn, requestOf } from './alert-formats.ts';
import { events, type EventRow, type Listener } from './events.ts';
import { WebhookClient } from './webhook.ts';

/** An alert on one subject is not repeated within this time, milliseconds. */
const repeatAfter = 300_000;
/** Most subjects whose last alert is remembered; the oldest are dropped. */
const maxSubjects = 1000;
/** Most alerts that wait while the webhook does not answer; the oldest are dropped. */
const maxWaiting = 100;
/** Delays between attempts, milliseconds; after the last one the alert is dropped. */
const delays = [1000, 5000, 25_000];
/** Time limit of an attempt, milliseconds. */
const timeout = 5000;
/** How long `close` waits for an alert that is being sent, milliseconds. */
const closeTimeout = 1000;

/** Sends the events marked as alerts to a webhook. */
export interface Alerts {
  /** Called for every event of the log. */
  readonly listener: Listener;
  /** Takes another configuration. What waits goes to the webhook of that one. */
  configure(config: AlertsConfig): void;
  /** Waits up to a second for an alert that is being sent. */
  close(): Promise<void>;
}

interface Alert {
  readonly message: AlertMessage;
  tries: number;
}

/**
 * POSTs `{"event","level","what","at","instance","fields"}`, or a message of the service that `format` names, for the events marked as
 * alerts, and again when the condition has ended. Signed as `X-Heimdall-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. Anything but a 2xx
 * within 5 s is retried three times.
 * Without a webhook nothing is sent.
 */
export const alertsOf = (config: AlertsConfig, clock: Clock, log: Logger, proxies: OutboundProxy | null = null): Alerts => new WebhookAlerts(config, clock, log, proxies);

class WebhookAlerts implements Alerts {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #proxies: OutboundProxy | null;
  #config: AlertsConfig;
  /** Null without a webhook. */
  #client: WebhookClient | null;
  readonly #queue: Alert[] = [];
  /** Time of the last alert, by event and subject. */
  readonly #sent = new Map<string, number>();
  readonly #closing = new AbortController();
  #busy: Promise<void> | null = null;
  #timer: Timer | null = null;

  constructor(config: AlertsConfig, clock: Clock, log: Logger, proxies: OutboundProxy | null) {
    this.#clock = clock;
    this.#log = log;
    this.#proxies = proxies;
    this.#config = config;
    this.#client = this.#clientOf(config);
  }

  configure(config: AlertsConfig): void {
    const { webhook } = this.#config;
    this.#config = config;
    if (config.webhook === webhook) return;
    const before = this.#client;
    this.#client = this.#clientOf(config);
    if (before !== null) inBackground(this.#log, 'alerts', before.close());
    if (this.#client === null) this.#queue.length = 0;
  }

  #clientOf({ webhook }: AlertsConfig): WebhookClient | null {
    return webhook === null ? null : new WebhookClient(webhook, timeout, this.#proxies);
  }

  readonly listener: Listener = (level, fields, event) => {
    const row: EventRow | undefined = Object.hasOwn(events, event) ? events[event as keyof typeof events] : undefined;
    if (row === undefined || this.#client === null || this.#closing.signal.aborted || !this.#isDue(event, row, fields)) return;
    this.#queue.push({ message: { event, level, what: row.what, at: new Date(this.#clock.now()).toISOString(), instance: hostname(), fields }, tries: 0 });
    if (this.#queue.length > maxWaiting) this.#queue.shift();
    if (this.#timer === null) this.#wake();
  };

  async close(): Promise<void> {
    if (this.#busy !== null && this.#timer === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const late = setTimeout(resolve, closeTimeout);
      await Promise.race([this.#busy, promise]);
      clearTimeout(late);
    }
    this.#closing.abort();
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    await this.#client?.close();
  }

  #isDue(event: string, { alert, ends }: EventRow, fields: object): boolean {
    const now = this.#clock.monotonic();
    if (ends !== undefined) return this.#sent.delete(`${ends} ${subjectOf(fields)}`);
    if (!alert) return false;
    const name = `${event} ${subjectOf(fields)}`;
    const before = this.#sent.get(name);
    if (before !== undefined && now - before < repeatAfter) return false;
    this.#sent.delete(name);
    this.#sent.set(name, now);
    if (this.#sent.size > maxSubjects) this.#sent.delete(this.#sent.keys().next().value as string);
    return true;
  }

  #wake(): void {
    this.#busy ??= this.#deliver().finally(() => {
      this.#busy = null;
      if (this.#queue.length > 0 && this.#timer === null && !this.#closing.signal.aborted) this.#wake();
    });
    inBackground(this.#log, 'alerts', this.#busy);
  }

  async #deliver(): Promise<void> {
    for (let alert = this.#queue[0]; alert !== undefined; alert = this.#queue[0]) {
      const problem = await this.#send(alert.message);
      if (this.#closing.signal.aborted) return;
      const wait = problem === null ? undefined : delays[alert.tries++];
      if (wait !== undefined) return this.#later(wait);
      if (problem !== null) this.#log.error({ reason: problem }, 'alert.failed');
      if (this.#queue[0] === alert) this.#queue.shift();
    }
  }

  #later(wait: number): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      this.#wake();
    }, wait);
    this.#timer.unref();
  }

  /** @returns a description of the failure, or null. SECURITY: never the address, which is often a secret itself. */
  async #send(message: AlertMessage): Promise<string | null> {
    const { webhook, secret, format } = this.#config;
    if (this.#client === null || webhook === null) return null;
    try {
      const { body, query } = requestOf(format, message, this.#clock.now(), secret, new URL(webhook));
      const { status, text } = await this.#client.post(body, this.#signature(body), this.#closing.signal, query);
      return status >= 200 && status < 300 ? problemIn(format, text) : `the webhook answered ${status}`;
    } catch (error) {
      return `the webhook cannot be reached (${codeOf(error)})`;
    }
  }

  #signature(body: string): Record<string, string> {
    const { secret } = this.#config;
    if (secret === null) return {};
    const time = Math.floor(this.#clock.now() / 1000);
    return { 'x-heimdall-signature': `t=${time},v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}` };
  }
}

/** The subject of an alert, so that an alert on one target does not suppress that on another. */
function subjectOf(fields: object): string {
  const { target, resource, ip, sink, route, source, certificate, caller, rule } = fields as Record<string, unknown>;
  return [target, resource, ip, sink, route, source, certificate, caller, rule].map((part) => (typeof part === 'string' ? part : '')).join(' ');
}
