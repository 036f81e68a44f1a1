import type { Context } from '../request/request.ts';

/** Rows are shown at the end of beats, all of a beat together: one write to each reader costs more than all else that a row costs. Milliseconds. */
export const beatLength = 250;
const beatsOfSecond = 4;

/** Filters that can be judged as a request ends, as the search of records judges them. */
export const filterNames = ['key', 'token', 'model', 'target', 'outcome', 'status'] as const;
export type FilterName = (typeof filterNames)[number];

/** What a reader of the event stream asks for, as threads tell it to each other. */
export interface Asked {
  /** Rows a second; null: all, each as its request ends. */
  readonly rows: number | null;
  /** Requests of these paths and of what is below them are not shown. */
  readonly hidden: readonly string[];
  readonly filters: Readonly<Partial<Record<FilterName, string>>>;
}

type Test = (finished: Context) => boolean;

/** What a beat had: requests that passed the filters, and the rows to be shown; with the last beat of a second also what the second had. */
export interface Beat {
  readonly requests: number;
  readonly rows: readonly string[];
  readonly second: { readonly requests: number; readonly shown: number } | null;
}

/** The same text for the same. */
export const keyOf = ({ rows, hidden, filters }: Asked): string => JSON.stringify([rows, hidden, ...filterNames.map((name) => filters[name] ?? null)]);

/** Which requests readers of the event stream are shown that ask for the same. */
export class LiveView {
  readonly asked: Asked;
  readonly #tests: readonly Test[];
  /** Of this beat. */
  #requests = 0;
  #rows: string[] = [];
  /** Rows that may be shown at its end. */
  #room: number;
  /** Of this second. */
  #beat = 0;
  #second = { requests: 0, shown: 0 };
  /** There were more requests than rows in the second before, so rows are spread over this one. */
  #isBusy = false;

  constructor(asked: Asked) {
    this.asked = asked;
    this.#room = asked.rows ?? Infinity;
    const { hidden } = asked;
    this.#tests = [...filterNames.flatMap((name) => testOf(name, asked.filters[name]) ?? []), ...(hidden.length === 0 ? [] : [outside(hidden)])];
  }

  /** Counts a request that has just ended. @returns whether there is room for its row. */
  takes(finished: Context): boolean {
    for (let at = 0; at < this.#tests.length; at++) if (!(this.#tests[at] as Test)(finished)) return false;
    this.#requests++;
    return this.#rows.length < this.#room;
  }

  /** Keeps a row until the beat ends. */
  keep(row: string): void {
    this.#rows.push(row);
  }

  /** The same for requests of another thread, some of them with rows. */
  count({ requests, rows }: Pick<Beat, 'requests' | 'rows'>): void {
    this.#requests += requests;
    this.#rows.push(...rows);
  }

  /** Ends a beat. With fewer requests than rows all are shown, with more they are spread over the beats of a second. */
  beat(): Beat {
    const most = this.asked.rows ?? Infinity;
    const requests = this.#requests;
    const rows = spread(this.#rows, this.#room);
    this.#requests = 0;
    this.#rows = [];
    this.#second = { requests: this.#second.requests + requests, shown: this.#second.shown + rows.length };
    const second = ++this.#beat === beatsOfSecond ? this.#second : null;
    if (second !== null) {
      this.#beat = 0;
      this.#second = { requests: 0, shown: 0 };
      this.#isBusy = second.requests > most;
    }
    this.#room = (this.#isBusy ? Math.ceil((most * (this.#beat + 1)) / beatsOfSecond) : most) - this.#second.shown;
    return { requests, rows, second: this.asked.rows === null ? null : second };
  }
}

/** So many of the rows, evenly. */
const spread = (rows: readonly string[], room: number): readonly string[] => (rows.length <= room ? rows : Array.from({ length: room }, (_, at) => rows[Math.floor((at * rows.length) / room)] as string));

function outside(paths: readonly string[]): Test {
  const below = paths.map((path) => `${path}/`);
  return ({ route: { template } }) => !paths.includes(template) && !below.some((start) => template.startsWith(start));
}

function testOf(name: FilterName, text: string | undefined): Test | null {
  if (text === undefined) return null;
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
      if (text === 'failed') return ({ outcome, status }) => outcome === 'upstream_error' || outcome === 'interrupted' || (outcome === 'served' && status >= 500);
      const [kind, code] = text.split(':');
      return ({ outcome, errorCode }) => outcome === kind && (code === undefined || errorCode === code);
    }
    case 'status': {
      const least = /^\dxx$/i.test(text) ? Number(text[0]) * 100 : null;
      return ({ status }) => (least === null ? status === Number(text) : status >= least && status < least + 100);
    }
  }
}
