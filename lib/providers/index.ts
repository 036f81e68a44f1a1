import type { Provider } from '../../types/provider.d.ts';
import { anthropic } from './anthropic.ts';
import { bearer, models } from './common.ts';
import { newapi } from './newapi.ts';
import { ollama } from './ollama.ts';
import { openai } from './openai.ts';

/** Every provider known by name. Any other name with an `endpoint` is an OpenAI-compatible API. */
export const providers: readonly Provider[] = [newapi, openai, anthropic, ollama];

/** @param name as in `llm.provider`. */
export function providerOf(name: string): Provider {
  return providers.find((provider) => provider.name === name) ?? { name, endpoint: null, credential: bearer, probe: models };
}
