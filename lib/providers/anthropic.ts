import type { Provider } from '../../types/provider.d.ts';
import { bearer } from './bearer.ts';

/** Anthropic's native Messages API names its key differently from its OpenAI-compatible endpoint. */
export const anthropic: Provider = {
  name: 'anthropic',
  endpoint: 'https://api.anthropic.com/v1',
  credential: (key, template) => (template === '/v1/messages' ? ['x-api-key', key] : bearer(key)),
};
