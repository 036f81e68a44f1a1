import type { LoggingConfig } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { type Console, systemClock } from '../platform/platform.ts';

const order = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
/** Colours of the levels: SGR 2 (faint), 36 (cyan), 33 (yellow), 31 (red). */
const colours = { debug: 2, info: 36, warn: 33, error: 31 } as const;
/** Characters of a value. */
const maxValue = 300;
/** Text that needs no quotes. */
const plain = /^[\w.,:;/@+*%-]+$/;

/**
 * The event log for a terminal, one line an event: time, level, name, fields. The fields are masked and printable already.
 * @param console where the lines go.
 */
export function readableLog(level: LoggingConfig['level'], console: Console): Logger {
  const at = (name: keyof typeof colours) => {
    if (order.indexOf(name) < order.indexOf(level)) return () => undefined;
    return (fields: object, event: string): void => void console.write(`${lineOf(name, fields, event)}\n`);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function lineOf(level: keyof typeof colours, fields: object, event: string): string {
  const time = new Date(systemClock.now()).toISOString().slice(11, 23);
  return `${time} \u001b[${colours[level]}m${level.toUpperCase().padEnd(5)}\u001b[0m ${event}${Object.entries(fields).map(([name, value]) => ` ${name}=${shown(value)}`).join('')}`;
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  const bounded = text.length > maxValue ? `${text.slice(0, maxValue)}…` : text;
  return typeof value !== 'string' || plain.test(bounded) ? bounded.replace(/[\r\n]+/g, ' ') : JSON.stringify(bounded);
}
