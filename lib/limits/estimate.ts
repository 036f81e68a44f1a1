import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';
import { guessedCompletion, guessedShare, type Rule } from './rule.ts';

/** What requests are worth before and after; handed in by who knows models and prices. */
export interface Appraiser {
  /** Guesses the tokens of a body. */
  tokens(bytes: Buffer): number;
  /** US dollars; null without a known price. */
  worth(model: string, usage: Usage): number | null;
}

/** What a request may use, as far as it can be told before it is sent. */
export interface Estimate {
  readonly prompt: number;
  /** What the body bounds its answer to; null when it does not. */
  readonly declared: number | null;
  /** Taken for an answer without a bound; 0 where none is written. */
  readonly guess: number;
}

/** Routes whose answer is written token by token. */
const writing: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages']);

/** Pictures, sound and what is too large to be looked into: bytes a token. */
const mediaBytes = 256;
const textBytes = 4;
const billion = 1_000_000_000;

/** A body may ask for any number of tokens; counters are whole numbers of 63 bits. */
const mostAmount = 2 ** 50;

/** Of a request that uses none, or of which no rule asks. */
export const nothing: Estimate = { prompt: 0, declared: 0, guess: 0 };

/** A larger body is taken for one with pictures. */
const mostText = 262_144;

/** Estimates the tokens of a request: of those that are carried unread by their length, of a task none. */
export function estimateOf(context: Context, appraiser: Appraiser): Estimate {
  const { route, maxTokens } = context;
  if (route.class !== 'model') return isGemini(context) ? { prompt: lengthOf(context), declared: null, guess: guessedCompletion } : nothing;
  return { prompt: promptOf(context, appraiser), declared: maxTokens, guess: writing.has(route.api) ? guessedCompletion : 0 };
}

/** Gemini's own API writes text too, `:generateContent` and `:streamGenerateContent`. */
const isGemini = ({ route, path }: Context): boolean => route.errors === 'gemini' && path.endsWith('enerateContent');

function lengthOf({ req }: Context): number {
  const length = Number(req.headers['content-length'] ?? 0);
  return Math.ceil(length / (length > mostText ? mediaBytes : textBytes));
}

function promptOf({ body, bodyStream, req, route }: Context, appraiser: Appraiser): number {
  if (bodyStream !== null) return Math.ceil(Number(req.headers['content-length'] ?? 0) / mediaBytes);
  if (body === null) return 0;
  if (route.body === 'form') return Math.ceil(body.length / mediaBytes);
  // Compressed text is about a quarter of itself, and a token about four bytes.
  return (req.headers['content-encoding'] ?? '') === '' ? appraiser.tokens(body) : body.length;
}

/** How much of a rule a request asks for. */
export function amountOf(rule: Rule, estimate: Estimate, context: Context, appraiser: Appraiser): number {
  return Math.min(asked(rule, estimate, context, appraiser), mostAmount);
}

function asked({ kind, share }: Rule, { prompt, declared, guess }: Estimate, context: Context, appraiser: Appraiser): number {
  switch (kind) {
    case 'requests':
    case 'concurrency':
      return 1;
    case 'tokens':
      return prompt + (declared ?? Math.min(guess, Math.ceil(share / guessedShare)));
    case 'budget': {
      if (declared !== null) return nanoDollars(context, prompt, declared, appraiser);
      const least = nanoDollars(context, prompt, 0, appraiser);
      return least + Math.min(nanoDollars(context, prompt, guess, appraiser) - least, Math.ceil(share / guessedShare));
    }
  }
}

/** How much of a rule a request has used in the end. */
export function actualOf({ kind }: Rule, estimate: Estimate, context: Context, appraiser: Appraiser): number {
  switch (kind) {
    case 'requests':
      return neverLeft(context) ? 0 : 1;
    case 'concurrency':
      return 0;
    case 'tokens':
      return context.usage === null ? untold(context, estimate) : context.usage.prompt + context.usage.completion;
    case 'budget':
      if (context.cost !== null) return Math.ceil(context.cost * billion);
      return context.usage === null ? spentUntold(context, estimate, appraiser) : 0;
  }
}

/** The gate itself refused it further down: then it has not been one. */
const neverLeft = ({ outcome, sentAt }: Context): boolean => outcome === 'refused' && sentAt === null;

/** Tokens of an answer that does not tell: an upstream that refused used none, one whose client left has read the prompt. */
function untold(context: Context, { prompt }: Estimate): number {
  if (context.sentAt === null) return 0;
  if (context.outcome === 'aborted') return prompt;
  return isAnswer(context) ? prompt + writtenIn(context) : 0;
}

function spentUntold(context: Context, estimate: Estimate, appraiser: Appraiser): number {
  const tokens = untold(context, estimate);
  const prompt = Math.min(tokens, estimate.prompt);
  return nanoDollars(context, prompt, tokens - prompt, appraiser);
}

const isAnswer = ({ status, route }: Context): boolean => status >= 200 && status < 300 && route.class === 'model' && !route.free;

const writtenIn = ({ route, bytesOut }: Context): number => (writing.has(route.api) ? Math.ceil(bytesOut / textBytes) : 0);

function nanoDollars({ model }: Context, prompt: number, completion: number, appraiser: Appraiser): number {
  if (model === null || prompt + completion === 0) return 0;
  return Math.ceil((appraiser.worth(model, { prompt, completion, cached: 0, reasoning: 0, estimated: true }) ?? 0) * billion);
}
