// The admin API as the page calls it. Everything here, `curl` and the command line can have too.

import { signal } from '@preact/signals';
import { curl } from './cli.ts';
import { Failure } from './failure.ts';
import { addressOf, queryText, type Query } from './route.ts';

/** Who is logged in. `none`: the login is shown. */
export interface Session {
  readonly auth: 'token' | 'host' | 'newapi';
  readonly access: 'full' | 'read' | 'none';
  readonly expires: string | null;
  readonly user: { readonly id: number; readonly username: string; readonly role: number } | null;
}

/** What the server wrote into the page: how one logs in. */
const auth = (document.documentElement.dataset['auth'] ?? 'token') as Session['auth'];
const loggedOut: Session = { auth, access: 'none', expires: null, user: null };

/** The login; null until the server has said. */
export const session = signal<Session | null>(null);
/** Why a login was refused or has ended: `newapi_role` for a session of NewAPI that may not read here. */
export const refusal = signal<Failure | null>(null);
/** The reader has left by the button, while NewAPI's own session goes on. */
export const staysInNewapi = signal(false);

/** Whether the reader may change things. */
export const mayChange = (): boolean => session.value?.access === 'full';

/** The command line that asks for a resource. */
export const curlOf = (path: string): string => curl(addressOf(path), auth === 'newapi' ? (session.value?.user?.id ?? null) : null);

/** SECURITY: the proof of the login is kept by origin: unlike a cookie it is not sent to another port of this host. */
const proofKey = 'heimdall.proof';
/** The access token of NewAPI and its user, where they were typed in: gone with the tab. */
const newapiKey = 'heimdall.newapi';

interface NewapiLogin {
  readonly id: string;
  readonly token: string;
}

function newapiLogin(): NewapiLogin | null {
  const kept = sessionStorage.getItem(newapiKey);
  if (kept !== null) return JSON.parse(kept) as NewapiLogin;
  const id = localStorage.getItem('uid') ?? idOfUser(localStorage.getItem('user'));
  return id === null ? null : { id, token: '' };
}

/** The classic UI of NewAPI keeps its user as JSON. */
function idOfUser(text: string | null): string | null {
  try {
    const { id } = JSON.parse(text ?? '{}') as { id?: unknown };
    return typeof id === 'number' || typeof id === 'string' ? String(id) : null;
  } catch {
    return null;
  }
}

function credentials(): Record<string, string> {
  if (auth === 'newapi') {
    const login = newapiLogin();
    return login === null ? {} : { 'New-Api-User': login.id, ...(login.token === '' ? {} : { Authorization: login.token }) };
  }
  const proof = auth === 'token' ? localStorage.getItem(proofKey) : null;
  return proof === null ? {} : { 'X-Heimdall-Proof': proof };
}

/** Sends a request below `api/`. @throws Failure unless the answer is a success; a login that has ended shows the login. */
export async function send(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method, headers: { ...credentials(), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) }, cache: 'no-store', credentials: 'same-origin', redirect: 'error' };
  if (body !== undefined) init.body = JSON.stringify(body);
  if (signal !== undefined) init.signal = signal;
  const answer = await fetch(`api/${path}`, init).catch((error: Error) => {
    if (error.name === 'AbortError') throw error;
    throw new Failure(0, { code: 'unreachable', message: error.message });
  });
  if (answer.ok) return answer;
  const failure = await failureOf(answer);
  if (failure.status === 401 && path !== 'login') ended(failure);
  throw failure;
}

async function failureOf(answer: Response): Promise<Failure> {
  const { error = {} } = await answer.json().catch(() => ({})) as { error?: { message?: string; code?: string } };
  return new Failure(answer.status, error, answer.headers);
}

function ended(failure: Failure): void {
  refusal.value = failure;
  session.value = loggedOut;
}

/** Asks for JSON. */
export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const text = queryText(query);
  return (await send('GET', text === '' ? path : `${path}?${text}`, undefined, signal)).json() as Promise<T>;
}

/** Changes something. @returns the JSON of the answer; null without any. */
export async function change<T>(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T | null> {
  const answer = await send(method, path, body);
  return answer.status === 204 ? null : answer.json() as Promise<T>;
}

/** Asks the server who is logged in. */
export async function resume(): Promise<void> {
  const known = auth === 'token' ? localStorage.getItem(proofKey) !== null : auth === 'host' || newapiLogin() !== null;
  if (!known) return void (session.value = loggedOut);
  try {
    session.value = await get<Session>('session');
    refusal.value = null;
  } catch (error) {
    refusal.value = error as Failure;
    session.value = loggedOut;
  }
}

/** Logs in by the admin token. @throws Failure */
export async function login(token: string): Promise<void> {
  const { proof, access, expires } = await (await send('POST', 'login', { token })).json() as { proof: string; access: 'full' | 'read'; expires: string };
  localStorage.setItem(proofKey, proof);
  session.value = { auth, access, expires, user: null };
  refusal.value = null;
}

/** Logs in by an access token of NewAPI. @throws Failure */
export async function loginNewapi(id: string, token: string): Promise<void> {
  sessionStorage.setItem(newapiKey, JSON.stringify({ id, token } satisfies NewapiLogin));
  try {
    session.value = await get<Session>('session');
    refusal.value = null;
  } catch (error) {
    sessionStorage.removeItem(newapiKey);
    throw error;
  }
}

/** Ends the login, on the server too. */
export async function logout(): Promise<void> {
  if (auth === 'token') await send('POST', 'logout', {}).catch(() => undefined);
  localStorage.removeItem(proofKey);
  sessionStorage.removeItem(newapiKey);
  staysInNewapi.value = auth === 'newapi' && newapiLogin() !== null;
  refusal.value = null;
  session.value = loggedOut;
}
