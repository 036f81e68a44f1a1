import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/** What a token of the stand-in may do. */
export interface KeyOptions {
  /** The user it belongs to. */
  readonly user: number;
  /** Only an administrator's token may name a channel (`sk-<key>-<channel>`). */
  readonly admin?: boolean;
  /** Default: every model. */
  readonly models?: readonly string[];
  readonly group?: string;
  /** Tokens (of text) left; undefined: no bound. 0 answers 403 `insufficient_user_quota`. */
  readonly quota?: number;
  /** Addresses it may be used from; exact match. */
  readonly allowIps?: readonly string[];
  /** Relay requests the user may make in a minute; more answer 429. */
  readonly modelLimit?: number;
}

/** A dashboard user. */
export interface UserOptions {
  readonly id: number;
  readonly password: string;
  /** Accepted in `Authorization` instead of a session. */
  readonly accessToken?: string;
  readonly admin?: boolean;
}

/** A sliding window: `limit` requests in `window` milliseconds. */
export interface Limit {
  readonly limit: number;
  readonly window: number;
}

/** What can be changed while the stand-in runs. */
export interface Behaviour {
  /** Token (with or without `sk-`) → what it may do. Default: `DEMO_KEY`, `OTHER_KEY`, `ROOT_KEY`. */
  readonly keys?: Readonly<Record<string, KeyOptions>>;
  /** Name → dashboard user. Default: `demo` / `demo-password` (id 1) and `root` / `root-password` (id 2, administrator). */
  readonly users?: Readonly<Record<string, UserOptions>>;
  /** Models that have a channel; any other answers 503 `model_not_found`. */
  readonly models?: readonly string[];
  /** `/api/*` and billing, per client address. Default 180 in 180 s. */
  readonly apiLimit?: Limit;
  /** The web UI, per client address; NewAPI's default is 60 in 180 s, here it is off unless given. */
  readonly webLimit?: Limit;
  /** Milliseconds between the chunks of a stream; 0 (default): the next turn of the loop. */
  readonly pace?: number;
  /** Content chunks of a stream; default one a word. */
  readonly chunks?: number;
  /** Milliseconds before a relay answer's head. Default 0. */
  readonly delay?: number;
  /** Sends the comment frame `: PING` before the first event of a stream. Default false. */
  readonly ping?: boolean;
  /** Body bound of relay routes after decompression; more answers 413. Default none, as older versions. */
  readonly maxBody?: number;
  /** Whether `/api/heimdall/log` exists. Default true. */
  readonly receiver?: boolean;
  /** How a bad key is refused on `/v1/realtime`: an event after the upgrade (default), or 401 instead of it. */
  readonly realtimeRefusal?: 'event' | 'status';
  /** Takes `x-api-key` and `x-goog-api-key` on `/v1/models`, as newer versions do. Default false. */
  readonly recent?: boolean;
  readonly version?: string;
  /** Key of the Stripe webhook's signature. */
  readonly stripeSecret?: string;
  readonly now?: () => number;
  /** False keeps no requests and no usage log, for benchmarks. Default true. */
  readonly record?: boolean;
}

/** How the stand-in is started. */
export interface NewapiOptions extends Behaviour {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Milliseconds an idle connection is kept; default 0: for ever, as NewAPI. */
  readonly keepAlive?: number;
  /** Served as `/`; default a page that says where one is. */
  readonly page?: string;
  /** Served as `/assets/app.js`. */
  readonly script?: string;
}

/** A request as the stand-in saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingHttpHeaders;
  /** All of it once `finished`; of uploads that are hashed only the first megabyte. */
  readonly body: Buffer;
  /** Body bytes received so far. */
  readonly bytes: number;
  readonly remoteAddress: string | undefined;
  readonly httpVersion: string;
  /** Status of the answer; 0 before it has one, 101 for a WebSocket. */
  readonly status: number;
  /** The client left before the answer was complete. */
  readonly aborted: boolean;
  /** Over, either way. */
  readonly done: boolean;
  readonly finished: Promise<void>;
}

/** A row of the usage log, by the names NewAPI gives its columns. */
export interface UsageRow {
  readonly id: number;
  readonly user_id: number;
  readonly created_at: number;
  readonly type: 2;
  readonly token_name: string;
  readonly group: string;
  readonly model_name: string;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly is_stream: boolean;
  readonly request_id: string;
  readonly ip: string;
}

/** A token as the stand-in keeps it. */
export interface Key extends KeyOptions {
  /** Without `sk-`. */
  readonly token: string;
  used: number;
}

/** Behaviour with nothing left open. */
export type Settings = Required<Omit<Behaviour, 'keys' | 'users' | 'webLimit' | 'chunks' | 'maxBody'>> & {
  readonly webLimit: Limit | undefined;
  readonly chunks: number | undefined;
  readonly maxBody: number | undefined;
};

/** Everything the stand-in remembers. */
export interface State {
  settings: Settings;
  keys: Map<string, Key>;
  users: Map<string, UserOptions>;
  /** Session cookie → user name. */
  readonly sessions: Map<string, string>;
  /** Limit and address → times of its requests, oldest first. */
  readonly windows: Map<string, number[]>;
  readonly usage: UsageRow[];
  /** What `/api/heimdall/log` was sent. */
  readonly received: unknown[];
  readonly started: number;
  readonly page: string | undefined;
  readonly script: string | undefined;
}

/** A request and what is known about it at its head. */
export interface Asked {
  readonly req: IncomingMessage;
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  /** Without `?`. */
  readonly query: string;
  /** `X-Oneapi-Request-Id`. */
  readonly id: string;
  readonly state: State;
  readonly seen: Seen | undefined;
}

/** A request to be answered. */
export interface Exchange extends Asked {
  readonly res: ServerResponse;
  /** Empty until it has been read. */
  body: Buffer;
}

/** `SeenRequest` while it is being written. */
export type Seen = { -readonly [K in keyof SeenRequest]: SeenRequest[K] };

/** One route: a method (`*`: any), an exact path or a pattern, what answers. */
export type Route = readonly [method: string, path: string | RegExp, handler: Handler];

/** Answers a request; the groups of a route's pattern come with it. */
export type Handler = (exchange: Exchange, groups: readonly (string | undefined)[]) => void | Promise<void>;

/** A token of 48 characters, as NewAPI makes them, behind `sk-`: user 1. */
export const DEMO_KEY: string = `sk-${'HeimdallDemoKey0'.repeat(3)}`;

/** A second ordinary token: user 3. */
export const OTHER_KEY: string = `sk-${'HeimdallOtherKey'.repeat(3)}`;

/** An administrator's token: user 2. */
export const ROOT_KEY: string = `sk-${'HeimdallRootKey0'.repeat(3)}`;

const KEYS: Readonly<Record<string, KeyOptions>> = {
  [DEMO_KEY]: { user: 1, group: 'default' },
  [OTHER_KEY]: { user: 3, group: 'default' },
  [ROOT_KEY]: { user: 2, group: 'default', admin: true },
};

const USERS: Readonly<Record<string, UserOptions>> = {
  demo: { id: 1, password: 'demo-password' },
  root: { id: 2, password: 'root-password', admin: true },
};

/** Models with a channel unless told otherwise. */
export const MODELS: readonly string[] = [
  'gpt-4o-mini',
  'gpt-4o',
  'gpt-3.5-turbo-instruct',
  'gpt-realtime',
  'claude-sonnet-4-5',
  'gemini-2.5-flash',
  'text-embedding-3-small',
  'text-moderation-stable',
  'omni-moderation-latest',
  'rerank-multilingual-v3.0',
  'dall-e-3',
  'gpt-image-1',
  'whisper-1',
  'tts-1',
  'mj_imagine',
  'suno_music',
  'sora-2',
  'kling-v1',
];

const KEPT_WINDOWS = 10_000;

const DEFAULTS: Settings = {
  models: MODELS,
  apiLimit: { limit: 180, window: 180_000 },
  webLimit: undefined,
  pace: 0,
  chunks: undefined,
  delay: 0,
  ping: false,
  maxBody: undefined,
  receiver: true,
  realtimeRefusal: 'event',
  recent: false,
  version: 'v0.9.9-standin',
  stripeSecret: 'whsec_standin',
  now: Date.now,
  record: true,
};

/** A fresh memory. */
export function createState(options: NewapiOptions): State {
  const state: State = {
    settings: DEFAULTS,
    keys: new Map(),
    users: new Map(),
    sessions: new Map(),
    windows: new Map(),
    usage: [],
    received: [],
    started: Math.floor((options.now ?? Date.now)() / 1000),
    page: options.page,
    script: options.script,
  };
  change(state, { keys: KEYS, users: USERS, ...options });
  return state;
}

/** Applies what is given and leaves the rest. */
export function change(state: State, behaviour: Behaviour): void {
  const { keys, users, ...rest } = behaviour;
  state.settings = { ...state.settings, ...rest };
  if (users) state.users = new Map(Object.entries(users));
  if (!keys) return;
  const named = Object.entries(keys).map(([name, options]): [string, Key] => {
    const token = name.replace(/^sk-/, '');
    return [token, { ...options, token, used: 0 }];
  });
  state.keys = new Map(named);
}

/** Counts one request and says whether the window still had room, as NewAPI's in-memory limiter does. */
export function admit(state: State, name: string, { limit, window }: Limit): boolean {
  const now = state.settings.now();
  let times = state.windows.get(name);
  if (!times) {
    if (state.windows.size >= KEPT_WINDOWS) state.windows.clear();
    state.windows.set(name, (times = []));
  }
  while (times[0] !== undefined && now - times[0] >= window) times.shift();
  if (times.length >= limit) return false;
  times.push(now);
  return true;
}
