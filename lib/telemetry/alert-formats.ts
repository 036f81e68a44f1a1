import { createHmac } from 'node:crypto';
import type { AlertFormat } from '../../types/config.d.ts';

/** An alert before it is put into the form of a service. */
export interface AlertMessage {
  readonly event: string;
  readonly level: string;
  /** What the event means, in a sentence. */
  readonly what: string;
  /** ISO 8601. */
  readonly at: string;
  readonly instance: string;
  readonly fields: object;
}

/** What is sent for an alert, at one attempt. */
export interface AlertRequest {
  readonly body: string;
  /** Appended to the query of the webhook's URL. */
  readonly query: Readonly<Record<string, string>>;
}

/** A service that receives alerts. */
interface Service {
  /** @param now Unix milliseconds. @param secret the one that the service gave for signing; null without. @param url of the webhook. */
  readonly make: (message: AlertMessage, now: number, secret: string | null, url: URL) => AlertRequest;
  /** What an answer with a status of 2xx says of a failure; null when the alert was taken. These services answer 200 to what they refuse. */
  readonly problem?: (answer: Readonly<Record<string, unknown>>) => string | null;
}

/** Most characters of a message: WeCom takes 2048 bytes, the others more. */
const longest = 600;
const longestValue = 200;

/** An alert as lines of plain text. */
function textOf({ event, level, what, at, instance, fields }: AlertMessage): string {
  const lines = Object.entries(fields).flatMap(([name, value]) => (value === null || value === undefined || value === '' ? [] : [`${name}: ${shown(value)}`]));
  const text = [`[${level}] ${what}`, `${event} · ${instance} · ${at}`, ...lines].join('\n');
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : JSON.stringify(value)).replaceAll(/\s+/g, ' ');
  return text.length > longestValue ? `${text.slice(0, longestValue)}…` : text;
}

const hmac = (key: string, text: string): string => createHmac('sha256', key).update(text).digest('base64');
const codeIn = (name: string) => (answer: Readonly<Record<string, unknown>>) => (typeof answer[name] === 'number' && answer[name] !== 0 ? `the webhook answered ${name} ${answer[name]}` : null);

const services: Readonly<Record<AlertFormat, Service>> = {
  json: { make: (message) => ({ body: JSON.stringify(message), query: {} }) },
  // Slack reads <, > and & as markup: links, mentions of a whole channel.
  slack: { make: (message) => ({ body: JSON.stringify({ text: textOf(message).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;') }), query: {} }) },
  // Feishu signs an empty text with the time and the secret as the key.
  feishu: {
    make(message, now, secret) {
      const timestamp = String(Math.floor(now / 1000));
      const signature = secret === null ? {} : { timestamp, sign: hmac(`${timestamp}\n${secret}`, '') };
      return { body: JSON.stringify({ ...signature, msg_type: 'text', content: { text: textOf(message).replaceAll('<', '＜') } }), query: {} };
    },
    problem: codeIn('code'),
  },
  dingtalk: {
    make(message, now, secret) {
      const query = secret === null ? {} : { timestamp: String(now), sign: hmac(secret, `${now}\n${secret}`) };
      return { body: JSON.stringify({ msgtype: 'text', text: { content: textOf(message) } }), query };
    },
    problem: codeIn('errcode'),
  },
  wecom: { make: (message) => ({ body: JSON.stringify({ msgtype: 'text', text: { content: textOf(message) } }), query: {} }), problem: codeIn('errcode') },
  telegram: {
    make: (message, _, __, url) => ({ body: JSON.stringify({ chat_id: url.searchParams.get('chat_id'), text: textOf(message), disable_web_page_preview: true }), query: {} }),
    problem: ({ ok }) => (ok === false ? 'the webhook answered ok false' : null),
  },
};

/** Puts an alert into the form of a service. Signatures hold the time, so it is made for each attempt. */
export const requestOf = (format: AlertFormat, message: AlertMessage, now: number, secret: string | null, url: URL): AlertRequest => services[format].make(message, now, secret, url);

/** What the body of an answer of 2xx says of a failure. Null: the alert was taken. */
export function problemIn(format: AlertFormat, text: string): string | null {
  const { problem } = services[format];
  if (problem === undefined) return null;
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'object' && answer !== null ? problem(answer as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}
