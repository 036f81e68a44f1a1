import type { Provider } from '../../types/provider.d.ts';
import { bearer, models } from './common.ts';

/** Anthropic's native Messages API names its key differently from its OpenAI-compatible endpoint. */
export const anthropic: Provider = {
  name: 'anthropic',
  endpoint: 'https://api.anthropic.com/v1',
  probe: models,
  credential: (key, template) => (template === '/v1/messages' ? ['x-api-key', key] : bearer(key)),
};
