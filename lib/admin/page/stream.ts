// The event stream: one for the whole page, read by fetch, since `EventSource` sends no header. It is open while the page is visible.

import { computed, effect, signal } from '@preact/signals';
import { send, session } from './api.ts';
import { place, queryText } from './route.ts';

/** Waiting times before the next connection, milliseconds: the first, and the longest. */
const firstPause = 1000;
const longestPause = 30_000;

/** A line of the event log. */
export interface LogEvent {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

/** A request that has ended. */
export interface RequestEvent {
  readonly id: string;
  readonly time: string;
  readonly ip: string;
  readonly key: string | null;
  readonly token: string | null;
  readonly token_mask: string | null;
  readonly route: string;
  readonly method: string | null;
  readonly model: string | null;
  readonly target: string | null;
  readonly status: number;
  readonly outcome: string;
  readonly duration: number;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  readonly cost: number | null;
}

/** What happened in a second: requests that pass the filters, those of them that are shown, and what is going on now. */
export interface RateEvent {
  readonly requests: number;
  readonly shown: number;
  readonly in_hand: number;
  readonly waiting: number;
}

interface Events {
  readonly log: LogEvent;
  readonly request: RequestEvent;
  readonly rate: RateEvent;
}

/** Filters of the event stream. */
export const liveFilters: readonly string[] = ['key', 'model', 'target', 'outcome', 'status'];
/** Rows a second in sight. */
const rows = '20';

type Listeners = { readonly [N in keyof Events]: Set<(event: Events[N]) => void> };

const listeners: Listeners = { log: new Set(), request: new Set(), rate: new Set() };

/** Whether events arrive. */
export const live = signal(false);
const visible = signal(!document.hidden);
document.addEventListener('visibilitychange', () => { visible.value = !document.hidden; });

/** Calls a function with every event of a kind. @returns a function that ends it. */
export function listen<N extends keyof Events>(name: N, listener: (event: Events[N]) => void): () => void {
  const known = listeners[name];
  known.add(listener);
  return () => void known.delete(listener);
}

/** What is asked for: requests are read where they are shown, with the filters that stand there. */
const asked = computed(() => {
  const { panel, query } = place.value;
  if (panel !== 'requests' || query['live'] !== 'true') return 'rows=1';
  return queryText({ rows, own: query['own'] === 'true' || query['route'] ? '' : 'false', ...Object.fromEntries(liveFilters.map((name) => [name, query[name]])) });
});

effect(() => {
  const query = asked.value;
  const open = visible.value && session.value !== null && session.value.access !== 'none';
  if (!open) return;
  const ending = new AbortController();
  void keepOpen(query, ending.signal);
  return () => ending.abort();
});

async function keepOpen(query: string, signal: AbortSignal): Promise<void> {
  for (let pause = firstPause; !signal.aborted; pause = Math.min(pause * 2, longestPause)) {
    try {
      await read(query, signal, () => { pause = firstPause; });
    } catch {
      // The next connection tells.
    }
    live.value = false;
    await pauseOf(pause, signal);
  }
}

function pauseOf(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

async function read(query: string, signal: AbortSignal, begun: () => void): Promise<void> {
  const { body } = await send('GET', `events?${query}`, undefined, signal);
  if (body === null) return;
  live.value = true;
  begun();
  let rest = '';
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const frames = (rest + part.value).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) deliver(frame);
  }
}

function deliver(frame: string): void {
  let name = '';
  let data = '';
  for (const line of frame.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
  }
  if (name !== 'log' && name !== 'request' && name !== 'rate') return;
  const event = JSON.parse(data) as never;
  for (const listener of listeners[name]) listener(event);
}
