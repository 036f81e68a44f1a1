// What a panel asks of the API, and asks again while it is shown.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get } from './api.ts';
import type { Failure } from './failure.ts';
import { queryText, type Query } from './route.ts';
import { listen, type LogEvent } from './stream.ts';

/** An answer, kept while the next one comes. */
export interface Asked<T> {
  readonly value: T | null;
  readonly error: Failure | null;
  readonly busy: boolean;
  /** Asks again. */
  readonly again: () => void;
}

/** What is asked, and when again. */
export interface AskOptions {
  readonly query?: Query;
  /** Asks again after this time, milliseconds, while the page is visible. */
  readonly every?: number;
  /** Asks again after events of the log with such names. */
  readonly after?: RegExp;
}

/** Time after which a gate that did not answer is asked again, milliseconds. */
const retryPause = 5000;
/** Least time between two questions that events cause, milliseconds. */
const eventPause = 2000;

/** Asks for a path; null asks for nothing. */
export function useAsk<T>(path: string | null, { query = {}, every, after }: AskOptions = {}): Asked<T> {
  const [state, setState] = useState<Omit<Asked<T>, 'again'> & { readonly of: string }>({ value: null, error: null, busy: path !== null, of: '' });
  const running = useRef<AbortController | null>(null);
  const text = queryText(query);
  const name = `${path}?${text}`;
  const again = useCallback((): void => {
    if (path === null) return;
    running.current?.abort();
    const ending = running.current = new AbortController();
    setState((before) => ({ ...before, busy: true }));
    get<T>(path, Object.fromEntries(new URLSearchParams(text)), ending.signal).then(
      (value) => { if (!ending.signal.aborted) setState({ value, error: null, busy: false, of: name }); },
      (error: Failure) => { if (!ending.signal.aborted) setState(({ value, of }) => ({ value: of === name ? value : null, error, busy: false, of: name })); },
    );
  }, [name]);
  useEffect(() => (again(), () => running.current?.abort()), [again]);
  useEffect(() => {
    if (every === undefined) return;
    const timer = setInterval(() => { if (!document.hidden) again(); }, every);
    return () => clearInterval(timer);
  }, [again, every]);
  useEffect(() => {
    if (state.error?.isPassing !== true) return;
    const timer = setInterval(() => { if (!document.hidden) again(); }, retryPause);
    return () => clearInterval(timer);
  }, [again, state.error]);
  useEffect(() => (after === undefined ? undefined : onEvents(after, again)), [again, after]);
  return { ...state, value: state.of === name || path !== null && state.of.split('?')[0] === path ? state.value : null, again };
}

/** Calls a function soon after events of such names, once for several. @returns a function that ends it. */
function onEvents(names: RegExp, call: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const heard = ({ event }: LogEvent): void => {
    if (names.test(event)) timer ??= setTimeout(() => { timer = null; call(); }, eventPause);
  };
  const leave = listen('log', heard);
  return () => {
    leave();
    if (timer !== null) clearTimeout(timer);
  };
}
