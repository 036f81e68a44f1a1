import type { Provider } from '../../types/provider.d.ts';

/** Ollama's OpenAI-compatible endpoint. Needs no key; a proxy in front of it may. */
export const ollama: Provider = {
  name: 'ollama',
  endpoint: 'http://127.0.0.1:11434/v1',
  speaks: ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/models', '/v1/models/:model'],
};
