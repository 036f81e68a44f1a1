/** The routes of OpenAI's API. */
export const routes: readonly string[] = [
  '/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses', '/v1/moderations', '/v1/images/generations', '/v1/images/*',
  '/v1/audio/speech', '/v1/audio/*', '/v1/models', '/v1/models/:model',
];

/** RFC 6750 §2.1. */
export const bearer = (key: string): readonly string[] => ['Authorization', `Bearer ${key}`];

/** The model list of an OpenAI-compatible API. */
export const models = (base: string): string => `${base}/models`;

/** The answer's own status; for an error inside a stream the status that it names, or that its type or code stands for at OpenAI or Anthropic. */
export function errorStatus(error: unknown, status: number): number {
  if (status >= 400) return status;
  const { code, status: named, type } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  for (const number of [named, code].map(Number)) if (number >= 400 && number < 600) return number;
  const word = `${String(type)} ${String(code)}`;
  if (/rate_limit|too_many/.test(word)) return 429;
  if (/overloaded/.test(word)) return 529;
  if (/authentication|invalid_api_key/.test(word)) return 401;
  if (/permission/.test(word)) return 403;
  return /invalid_request/.test(word) ? 400 : 502;
}
