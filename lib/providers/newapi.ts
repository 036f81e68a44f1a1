import type { Provider } from '../../types/provider.d.ts';

/** NewAPI and one-api; without a key of ours they are asked with the caller's credential. */
export const newapi: Provider = {
  name: 'newapi',
  speaks: 'all',
  probe: (base) => `${base.replace(/\/v1$/, '')}/api/status`,
};
