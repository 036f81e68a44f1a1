import type { Provider } from '../../types/provider.d.ts';
import { bearer } from './common.ts';

/** Anthropic's native Messages API names its key differently from its OpenAI-compatible endpoint. */
export const anthropic: Provider = {
  name: 'anthropic',
  endpoint: 'https://api.anthropic.com/v1',
  speaks: ['/v1/messages', '/v1/chat/completions', '/v1/models', '/v1/models/:model'],
  credential: (key, template) => (template === '/v1/messages' ? ['x-api-key', key] : bearer(key)),
};
