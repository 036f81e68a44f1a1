import type { Provider } from '../../types/provider.d.ts';
import type { Complaint } from './fields.ts';
import { type Kind, text, url } from './value-types.ts';
import { type Path, show } from './problems.ts';

/** Providers known by name; any other name needs an `endpoint`. */
export const PROVIDERS = ['newapi', 'openai', 'anthropic', 'ollama'] as const;

const name = text('the name of a provider', 'openai', /^[\w.-]+$/, (written) => written.toLowerCase());
const base = url('https://api.openai.com/v1');

/** A provider's name, or in code an object, whose fields {@link checkProvider} looks at. */
export const provider: Kind<string | Provider> = {
  ...name,
  read: (value) => (isObject(value) ? (value as Provider) : name.read(value)),
  input: 'string | Provider',
  output: 'string | Provider',
  words: PROVIDERS,
};

/** What a target's provider is called. */
export const providerName = (given: string | Provider): string => (typeof given === 'string' ? given : given.name);

/** A copy with what was given and nothing else: nothing of the caller's is frozen, and methods stay with their object. */
export function heldProvider(given: string | Provider): string | Provider {
  if (typeof given === 'string') return given;
  const { endpoint, speaks, credential, probe, errorStatus } = given;
  return {
    name: name.read(given.name) as string,
    ...(endpoint === undefined ? {} : { endpoint: endpoint === null ? null : (base.read(endpoint) as string) }),
    ...(speaks === undefined ? {} : { speaks: speaks === 'all' ? speaks : [...speaks] }),
    ...(credential && { credential: credential.bind(given) }),
    ...(probe && { probe: probe.bind(given) }),
    ...(errorStatus && { errorStatus: errorStatus.bind(given) }),
  };
}

/** Where the problems of an object go. */
interface Refusals {
  /** Whether the value at a path came from code. */
  isCode(at: Path): boolean;
  refuse(at: Path, complaint: Complaint, got?: string): void;
}

interface Field {
  readonly expected: string;
  readonly example: unknown;
  readonly fits: (value: unknown) => boolean;
}

const FUNCTION = { fits: (value: unknown) => typeof value === 'function' };

const FIELDS: Readonly<Record<keyof Provider, Field>> = {
  name: { expected: 'letters, digits, ., _ and -, and not newapi', example: 'mine', fits: (value) => name.read(value) !== undefined && name.read(value) !== 'newapi' },
  endpoint: { expected: `${base.expected}, or null`, example: base.example, fits: (value) => value === null || base.read(value) !== undefined },
  speaks: { expected: 'a list of route templates, or all', example: ['/v1/chat/completions'], fits: (value) => value === 'all' || (isTexts(value) && value.length > 0) },
  credential: { ...FUNCTION, expected: 'a function that gives a flat list of header names and values', example: "(key) => ['X-Api-Key', key]" },
  probe: { ...FUNCTION, expected: 'a function that gives a path', example: '(base) => `${base}/models`' },
  errorStatus: { ...FUNCTION, expected: 'a function that gives an HTTP status from 400 to 599', example: '(error, status) => status' },
};

/** Refuses an object that is no provider, field by field; its functions are tried with a key that is none. */
export function checkProvider(given: string | Provider, at: Path, sources: Refusals): void {
  if (typeof given === 'string') return;
  if (!sources.isCode(at)) return sources.refuse(at, { expected: 'the name of a provider; an object can be given in code alone', example: 'openai' });
  const sound = (Object.keys(FIELDS) as (keyof Provider)[]).filter((field) => {
    const { expected, example, fits } = FIELDS[field];
    const value: unknown = given[field];
    if ((value === undefined && field !== 'name') || fits(value)) return true;
    sources.refuse([...at, field], { expected, example }, typeof value === 'function' ? 'a function' : show(value));
    return false;
  });
  for (const field of sound) {
    const wrong = tried(given, field);
    if (wrong !== null) sources.refuse([...at, field], FIELDS[field], wrong);
  }
}

/** What a function gave instead of what it should, or null. */
function tried(given: Provider, field: keyof Provider): string | null {
  const { credential, probe, errorStatus } = given;
  try {
    if (field === 'credential' && credential) return firstOf(templatesOf(given), (template) => headersProblem(credential.call(given, 'key', template)));
    if (field === 'probe' && probe) return pathProblem(probe.call(given, '/v1'));
    if (field === 'errorStatus' && errorStatus) return firstOf(ERRORS, (error) => statusProblem(errorStatus.call(given, error, 500)));
    return null;
  } catch (error) {
    return `an error: ${show(error instanceof Error ? error.message : String(error))}`;
  }
}

const ERRORS = [{ message: 'The server is overloaded.', type: 'server_error', code: null }, null];

function firstOf<T>(list: readonly T[], problem: (item: T) => string | null): string | null {
  for (const item of list) {
    const wrong = problem(item);
    if (wrong !== null) return wrong;
  }
  return null;
}

const templatesOf = ({ speaks }: Provider): readonly string[] => (isTexts(speaks) ? speaks : ['/v1/chat/completions']);

function headersProblem(given: unknown): string | null {
  if (!isTexts(given)) return Array.isArray(given) ? 'a list that holds something else than text' : show(given);
  if (given.length % 2 === 1) return `a list of ${given.length}`;
  const wrong = given.findIndex((part, index) => !(index % 2 === 0 ? /^[\w!#$%&'*+.^`|~-]+$/ : /^[\t\x20-\x7e\x80-\xff]*$/).test(part));
  return wrong === -1 ? null : `a ${wrong % 2 === 0 ? 'name' : 'value'} at ${wrong} that no header can have`;
}

const pathProblem = (given: unknown): string | null => (typeof given === 'string' && /^\/[\x21-\x7e]*$/.test(given) ? null : show(given));

const statusProblem = (given: unknown): string | null => (isStatus(given) ? null : show(given));

/** Whether a number is the status of an error. */
export const isStatus = (given: unknown): given is number => typeof given === 'number' && Number.isInteger(given) && given >= 400 && given <= 599;

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

const isTexts = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every((part) => typeof part === 'string');
