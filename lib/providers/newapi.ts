import type { Provider } from '../../types/provider.d.ts';
import { bearer } from './bearer.ts';

/** NewAPI and one-api. Speaks every route; without a key of ours it is asked with the caller's. */
export const newapi: Provider = { name: 'newapi', endpoint: null, credential: bearer };
