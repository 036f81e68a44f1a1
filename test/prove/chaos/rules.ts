/** Who is asked, and on which terms. */
export interface Setting {
  /** Whose key the first target is asked with: the caller's (NewAPI), or ours. */
  readonly first: 'NewAPI' | 'ours';
  /** A second target stands behind the first, asked with our own key. */
  readonly backup: boolean;
  /** `retryable_errors` holds `timeout`. */
  readonly timeout: boolean;
}

/** NewAPI with a target of ours behind it. */
export const newapi: Setting = { first: 'NewAPI', backup: true, timeout: false };
export const newapiAlone: Setting = { ...newapi, backup: false };
export const ours: Setting = { ...newapi, first: 'ours' };
export const oursAlone: Setting = { ...ours, backup: false };

/** A setting in words. */
export const told = ({ first, backup, timeout }: Setting): string => `${first}${backup ? ', then ours' : ' alone'}${timeout ? '; timeout' : ''}`;

/** What happens to the first target's answer, in the rows of the failure table. */
export type Trouble = keyof typeof rules;

/** What the client and the upstreams must see of one request. */
export interface Expected {
  /** As `look` words it. */
  readonly view: string;
  /** Requests that reach the first target, and the second. */
  readonly asked: readonly [number, number];
}

/** One request in the light of which a row is read. */
export interface Situation extends Setting {
  /** On a route that costs nothing. */
  readonly free: boolean;
  /** Images, audio and video. */
  readonly media: boolean;
  /** What the client is told when nobody else may be asked, as `look` words it. */
  readonly told: string;
}

const ends = (view: string): Expected => ({ view, asked: [1, 0] });
const byFirst = ends('primary');
const again: Expected = { view: 'primary', asked: [2, 0] };
const byBackup: Expected = { view: 'backup', asked: [1, 1] };

/** The failure table, and what stands beside it, as the rule book words it; never derived from the code. */
const rules = {
  none: () => byFirst,
  refused: ({ backup }) => (backup ? { view: 'backup', asked: [0, 1] } : { view: '502 upstream_unreachable', asked: [0, 0] }),
  /** Reset on a reused socket with 0 bytes. */
  stale: ({ media }) => (media ? ends('504 upstream_timeout') : again),
  /** 429, or 5xx with `Retry-After`. */
  rest: servedElsewhere,
  /** 529, or an error that says so: NewAPI too is asked again, which has not tried again by itself. */
  overloaded: ({ backup, media, told }) => (media ? ends(told) : backup ? byBackup : again),
  /** The same with more than five seconds. */
  long_rest: ({ backup, told }) => (backup ? byBackup : ends(told)),
  server_error: servedElsewhere,
  not_http: ({ backup, media }) => (backup && !media ? byBackup : ends('502 upstream_invalid')),
  /** It may have been served, and billed. */
  unclear: ({ backup, timeout, free, media }) => (backup && (timeout || free) && !media ? byBackup : ends('504 upstream_timeout')),
  /** 401 or 403: with our key our affair, with the caller's the caller's. */
  refused_key: ({ first, backup, told }) => (first === 'NewAPI' ? ends(told) : backup ? byBackup : ends('502 upstream_refused')),
  /** Other 4xx, and what NewAPI has signed. */
  verdict: ({ told }) => ends(told),
  /** The stream had begun. */
  interrupted: () => ends('primary, then upstream_interrupted'),
  /** Bytes that are no event stream had begun. */
  broken: () => ends('primary, cut'),
} satisfies Record<string, (of: Situation) => Expected>;

/** Another target, or with our own key this one again; NewAPI has tried again by itself. */
function servedElsewhere({ first, backup, media, told }: Situation): Expected {
  if (media) return ends(told);
  return backup ? byBackup : first === 'ours' ? again : ends(told);
}

/** Looks a row up. */
export const expected = (trouble: Trouble, of: Situation): Expected => rules[trouble](of);
