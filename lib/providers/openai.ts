import type { Provider } from '../../types/provider.d.ts';

/** OpenAI. Whatever another provider leaves out is as here. */
export const openai: Provider = { name: 'openai', endpoint: 'https://api.openai.com/v1' };
