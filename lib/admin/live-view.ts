import { filters, readWanted, SearchError } from '../journal/journal.ts';
import { HeimdallError } from '../errors.ts';
import type { Context } from '../request/request.ts';
import { type Call, integer, parametersOf, word } from './call.ts';

/** Rows a second at most. */
const mostRows = 20;
const second = 1000;
/** Filters that can be judged as a request ends, as the search of records judges them. */
const names = ['key', 'token', 'model', 'target', 'outcome', 'status'] as const;

type Test = (context: Context) => boolean;

/** Which requests a reader of the event stream is shown. */
export class LiveView {
  /** Rows a second; null: all. */
  readonly rows: number | null;
  readonly #tests: readonly Test[];
  /** Requests that passed the filters in this second, and those that were shown. */
  #requests = 0;
  #shown = 0;
  /** There were more requests than rows in the second before, so rows are spread over this one. */
  #isBusy = false;
  #next = 0;

  private constructor(rows: number | null, tests: readonly Test[]) {
    this.rows = rows;
    this.#tests = tests;
  }

  /** Reads the query `rows=20&key=…&status=5xx&own=false`. @throws HeimdallError naming the parameter. */
  static of(call: Call): LiveView {
    const asked = parametersOf(call, ['rows', 'own', ...names]);
    const rows = asked.has('rows') ? integer(asked, 'rows', mostRows, 1, mostRows) : null;
    const { path } = call.context.core.config.admin;
    const tests = names.flatMap((name) => (asked.has(name) ? [testOf(name, asked.get(name) as string, call.context.core.clock.now())] : []));
    if (word(asked, 'own', ['true', 'false'], 'true') === 'false') tests.push(({ route: { template } }) => !template.startsWith(`${path}/`));
    return new LiveView(rows, tests);
  }

  /** Whether a request that has just ended is shown. With fewer requests than rows all are, with more they are spread evenly. @param now monotonic milliseconds. */
  takes(context: Context, now: number): boolean {
    for (let at = 0; at < this.#tests.length; at++) if (!(this.#tests[at] as Test)(context)) return false;
    this.#requests++;
    if (this.rows === null) return true;
    if (this.#shown >= this.rows || (this.#isBusy && now < this.#next)) return false;
    this.#shown++;
    this.#next = now + second / this.rows;
    return true;
  }

  /** A second is over: its requests that passed the filters, and how many of them were shown. */
  turn(): { readonly requests: number; readonly shown: number } {
    const [requests, shown] = [this.#requests, this.#shown];
    this.#isBusy = requests > (this.rows ?? 0);
    this.#requests = 0;
    this.#shown = 0;
    return { requests, shown };
  }
}

function testOf(name: (typeof names)[number], text: string, now: number): Test {
  if (name !== 'token') checked(name, text, now);
  switch (name) {
    case 'key':
      return ({ key, token }) => text === key || text === token?.id;
    case 'token':
      return ({ token }) => text === token?.id;
    case 'model': {
      const start = text.endsWith('*') ? text.slice(0, -1) : null;
      return ({ model }) => (start === null ? model === text : model?.startsWith(start) === true);
    }
    case 'target':
      return ({ target }) => target === text;
    case 'outcome': {
      const [kind, code] = text.split(':');
      return ({ outcome, errorCode }) => outcome === kind && (code === undefined || errorCode === code);
    }
    case 'status': {
      const least = /^\dxx$/i.test(text) ? Number(text[0]) * 100 : null;
      return ({ status }) => (least === null ? status === Number(text) : status >= least && status < least + 100);
    }
  }
}

/** Refuses what the search of records would refuse. */
function checked(name: keyof typeof filters, text: string, now: number): void {
  try {
    readWanted({ [name]: text }, now);
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: error.message, field: error.field });
    throw error;
  }
}
