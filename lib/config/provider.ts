import type { Provider } from '../../types/provider.d.ts';
import type { Mismatch } from './fields.ts';
import { type ValueType, text, url } from './value-types.ts';
import { type Path, show } from '../values/values.ts';

/** Providers known by name. Any other name requires an `endpoint`. */
export const PROVIDERS = ['newapi', 'openai', 'anthropic', 'ollama'] as const;

const name = text('the name of a provider', 'openai', /^[\w.-]+$/, (written) => written.toLowerCase());
const base = url('https://api.openai.com/v1');

/** A provider's name, or in code an object. {@link checkProvider} checks the fields of the object. */
export const provider: ValueType<string | Provider> = {
  ...name,
  read: (value) => (isObject(value) ? (value as Provider) : name.read(value)),
  input: 'string | Provider',
  output: 'string | Provider',
  words: PROVIDERS,
};

/** The name of a target's provider. */
export const providerName = (given: string | Provider): string => (typeof given === 'string' ? given : given.name);

/** A copy of a provider's known fields, so that the caller's object is not frozen. Methods stay bound to their object. */
export function copyProvider(given: string | Provider): string | Provider {
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

/** Receives the problems of a provider object. */
interface ProblemReceiver {
  /** Whether the value at a path was given in code. */
  isCode(at: Path): boolean;
  refuse(at: Path, mismatch: Mismatch, got?: string): void;
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

/** Checks a provider object field by field. Its functions are called once with a placeholder key. */
export function checkProvider(given: string | Provider, at: Path, sources: ProblemReceiver): void {
  if (typeof given === 'string') return;
  if (!sources.isCode(at)) return sources.refuse(at, { expected: 'the name of a provider; an object is accepted in code only', example: 'openai' });
  const validFields = (Object.keys(FIELDS) as (keyof Provider)[]).filter((field) => {
    const { expected, example, fits } = FIELDS[field];
    const value: unknown = given[field];
    if ((value === undefined && field !== 'name') || fits(value)) return true;
    sources.refuse([...at, field], { expected, example }, typeof value === 'function' ? 'a function' : show(value));
    return false;
  });
  for (const field of validFields) {
    const wrong = wrongResultOf(given, field);
    if (wrong !== null) sources.refuse([...at, field], FIELDS[field], wrong);
  }
}

/** The wrong result of a provider's function, or null when the result is valid. */
function wrongResultOf(given: Provider, field: keyof Provider): string | null {
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
  if (!isTexts(given)) return Array.isArray(given) ? 'a list with an item that is not text' : show(given);
  if (given.length % 2 === 1) return `a list of ${given.length}`;
  const wrong = given.findIndex((part, index) => !(index % 2 === 0 ? /^[\w!#$%&'*+.^`|~-]+$/ : /^[\t\x20-\x7e\x80-\xff]*$/).test(part));
  return wrong === -1 ? null : `an invalid header ${wrong % 2 === 0 ? 'name' : 'value'} at ${wrong}`;
}

const pathProblem = (given: unknown): string | null => (typeof given === 'string' && /^\/[\x21-\x7e]*$/.test(given) ? null : show(given));

const statusProblem = (given: unknown): string | null => (isStatus(given) ? null : show(given));

/** Whether a value is an HTTP status of an error, 400 to 599. */
export const isStatus = (given: unknown): given is number => typeof given === 'number' && Number.isInteger(given) && given >= 400 && given <= 599;

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

const isTexts = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every((part) => typeof part === 'string');
