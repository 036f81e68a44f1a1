import type { Provider } from '../../types/provider.d.ts';
import { bearer, models } from './common.ts';

/** Ollama's OpenAI-compatible endpoint. Needs no key; a proxy in front of it may. */
export const ollama: Provider = { name: 'ollama', endpoint: 'http://127.0.0.1:11434/v1', credential: bearer, probe: models };
