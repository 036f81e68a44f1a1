// Where the reader is: the panel and what it asks for stand in the address behind the `#`, so that every view can be sent to a colleague.

import { signal } from '@preact/signals';

/** The panels, in the order of the navigation. */
export const panels = ['overview', 'findings', 'callers', 'requests', 'keys', 'bans', 'targets', 'health', 'settings'] as const;

export type PanelName = (typeof panels)[number];

/** Parameters of a view. An empty value is left out. */
export type Query = Readonly<Record<string, string | null | undefined>>;

/** A view: a panel and its parameters. */
export interface Place {
  readonly panel: PanelName;
  readonly query: Readonly<Record<string, string>>;
}

/** The view that is shown. */
export const place = signal<Place>(readPlace());

addEventListener('hashchange', () => { place.value = readPlace(); });

function readPlace(): Place {
  const [name = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const panel = panels.find((each) => each === name) ?? 'overview';
  return { panel, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a view, relative to the page. */
export function hrefOf(panel: PanelName, query: Query = {}): string {
  const text = queryText(query);
  return `#/${panel}${text === '' ? '' : `?${text}`}`;
}

/** Parameters as they stand in a URL. */
export function queryText(query: Query): string {
  return new URLSearchParams(Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== null && entry[1] !== undefined && entry[1] !== '')).toString();
}

/** The full address of a resource of the admin API. */
export const addressOf = (path: string): string => new URL(`api/${path}`, location.href).href;

/** Goes to a view. @param replace leaves no step in the browser's history. */
export function go(panel: PanelName, query: Query = {}, replace = false): void {
  if (replace) {
    history.replaceState(null, '', hrefOf(panel, query));
    place.value = readPlace();
  } else location.hash = hrefOf(panel, query);
}

/** Changes parameters of the view that is shown. */
export function refine(change: Query, replace = false): void {
  const { panel, query } = place.peek();
  go(panel, { ...query, ...change }, replace);
}
