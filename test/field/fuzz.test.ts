import '../support/node.ts';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { properties } from '../prove/fuzz/properties.ts';

/** Inputs of all parsers together; `npm run prove -- --only fuzz` draws a million. */
const inputs = 4000;

describe('parsers on inputs drawn at random', () => {
  const all = properties.reduce((sum, { share }) => sum + share, 0);
  for (const { parser, share, property } of properties) {
    it(parser, async () => fc.assert(property, { numRuns: Math.ceil((inputs * share) / all), seed: 13, endOnFailure: true }));
  }
});
