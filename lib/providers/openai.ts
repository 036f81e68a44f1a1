import type { Provider } from '../../types/provider.d.ts';
import { bearer, models } from './common.ts';

export const openai: Provider = { name: 'openai', endpoint: 'https://api.openai.com/v1', credential: bearer, probe: models };
