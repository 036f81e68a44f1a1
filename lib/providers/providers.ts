// The APIs that the gate can speak to, one file each.

import type { Provider } from '../../types/provider.d.ts';
import { anthropic } from './anthropic.ts';
import { bearer, errorStatus, models, routes } from './common.ts';
import { newapi } from './newapi.ts';
import { ollama } from './ollama.ts';
import { openai } from './openai.ts';

export { errorStatus } from './common.ts';

/** A provider with the defaults for everything that it leaves out. */
export type WholeProvider = Required<Provider>;

/** Every provider known by name. Any other name with an `endpoint` is an OpenAI-compatible API. */
export const providers: readonly Provider[] = [newapi, openai, anthropic, ollama];

const compatible: Omit<WholeProvider, 'name'> = { endpoint: null, speaks: routes, credential: bearer, probe: models, errorStatus };

/** @param given a name as in `llm.provider`, or a provider as the configuration holds it. */
export function providerOf(given: string | Provider): WholeProvider {
  const provider = typeof given === 'string' ? (providers.find(({ name }) => name === given) ?? { name: given }) : given;
  return { ...compatible, ...provider };
}
