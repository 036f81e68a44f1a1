// Lists that go on: the next page is asked for behind the last row, never counted.

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get } from './api.ts';
import type { Failure } from './failure.ts';
import type { Asked } from './ask.ts';
import type { Query } from './route.ts';
import { t } from './text.ts';
import { Problem } from './ui.tsx';

interface Paged {
  readonly next: string | number | null;
  readonly stopped?: boolean;
}

/** Rows of all pages so far. */
export interface Rows<Row> {
  readonly rows: readonly Row[];
  readonly next: string | number | null;
  /** The search ran out of time before the list was full. */
  readonly stopped: boolean;
  readonly busy: boolean;
  readonly error: Failure | null;
  readonly load: () => void;
}

/** So many pages are asked for by themselves where a search ran out of time before a page was full: with the first one three requests. */
const byItself = 2;

/** @param first the answer with the first page. */
export function useMore<Page extends Paged, Row>(path: string, query: Query, first: Asked<Page>, rowsOf: (page: Page) => readonly Row[]): Rows<Row> {
  const [pages, setPages] = useState<readonly Page[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Failure | null>(null);
  useEffect(() => { setPages([]); setError(null); }, [first.value]);
  const all = first.value === null ? [] : [first.value, ...pages];
  const { next = null, stopped = false } = all.at(-1) ?? {};
  const load = (): void => {
    setBusy(true);
    const behind = first.value;
    get<Page>(path, { ...query, cursor: String(next) }).then((page) => setPages((before) => (first.value === behind ? [...before, page] : before)), setError).finally(() => setBusy(false));
  };
  const rows = all.flatMap(rowsOf);
  const goesOn = stopped && next !== null && !busy && error === null && pages.length < byItself && rows.length < Number(query['limit']);
  useEffect(() => { if (goesOn) load(); }, [goesOn, pages.length]);
  return { rows, next, stopped, busy: busy || goesOn, error, load };
}

/** The button that asks for the next page, where there is one. */
export function More<Row>({ of: { next, stopped, busy, error, load } }: { readonly of: Rows<Row> }): JSX.Element | null {
  if (error !== null) return <Problem error={error} again={load} />;
  if (next === null) return null;
  return <p class="more">{stopped ? <span>{t().stopped} </span> : null}<button type="button" onClick={load} disabled={busy} aria-busy={busy}>{stopped ? t().searchOn : t().more}</button></p>;
}
