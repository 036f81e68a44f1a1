import type { Provider } from '../../types/provider.d.ts';
import { bearer } from './common.ts';

/** NewAPI and one-api. Speaks every route; without a key of ours it is asked with the caller's. */
export const newapi: Provider = { name: 'newapi', endpoint: null, credential: bearer, probe: (base) => `${base.replace(/\/v1$/, '')}/api/status` };
