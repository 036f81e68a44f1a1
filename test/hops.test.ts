import './support/node.ts';
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeHops, measureHops, type Hops } from './bench/hops.ts';

/** Each hop has to buy something: a reader follows one chat through this many files and functions of `lib/` at most. */
const mostFiles = 45;
const mostFunctions = 240;

it('a warm chat with limits and journal passes few files and functions', async () => {
  const areFew = ({ files, functions }: Hops): boolean => files.size <= mostFiles && functions <= mostFunctions;
  const hops = await measureHops(areFew);
  assert.ok(areFew(hops), describeHops(hops));
  // A chat that passes hardly anything was not measured.
  assert.ok(hops.files.size > 20 && hops.functions > 100, describeHops(hops));
});
