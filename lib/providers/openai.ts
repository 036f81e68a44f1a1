import type { Provider } from '../../types/provider.d.ts';

/** OpenAI: what every provider is that says nothing else. */
export const openai: Provider = { name: 'openai', endpoint: 'https://api.openai.com/v1' };
