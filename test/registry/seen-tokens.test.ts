import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { it } from 'node:test';
import { tokenIdentifier } from '../../lib/identity/identity.ts';
import { systemClock } from '../../lib/platform/platform.ts';
import type { Core } from '../../lib/request/request.ts';
import { SeenTokens } from '../../lib/registry/seen-tokens.ts';
import { fakeClock } from '../support/clock.ts';

it('a token is found by itself and by its digest, whatever letter its identity begins with', async () => {
  const stored = new Map<string, string>();
  const place = {
    remember: async (names: readonly (readonly [string, string])[]) => names.forEach(([name, value]) => void stored.set(name, value)),
    recall: async (names: readonly string[]) => new Map(names.flatMap((name) => (stored.has(name) ? [[name, stored.get(name) as string] as const] : []))),
  };
  const tokens = new SeenTokens({ clock: systemClock } as unknown as Pick<Core, 'clock' | 'log'>, () => ['the install secret'], place);
  const identify = tokenIdentifier('the install secret', []);
  const keys = Array.from({ length: 200 }, (_, nth) => `sk-${String(nth).padStart(48, 'a')}`);
  const ids = keys.map((key) => identify(key).id);
  for (const [nth, key] of keys.entries()) tokens.add(key, ids[nth] as string);
  assert.equal(new Set(ids.map((id) => id[0])).size, 16);
  for (const form of [(key: string) => key, (key: string) => key.slice(3), (key: string) => hash('sha256', key), (key: string) => hash('sha256', key.slice(3)).toUpperCase()]) {
    assert.deepEqual(await tokens.find(await tokens.formsOf(keys.map(form))), ids);
  }
});

it('tokens that are accepted when the gate has closed start no timer', async () => {
  const clock = fakeClock();
  const stored: (readonly (readonly [string, string])[])[] = [];
  const tokens = new SeenTokens({ clock } as unknown as Pick<Core, 'clock' | 'log'>, () => ['the install secret'], { remember: async (names) => void stored.push(names), recall: async () => new Map() });
  tokens.add('sk-one', 'a');
  await tokens.close();
  tokens.add('sk-two', 'b');
  assert.deepEqual([stored.length, clock.pending], [1, 0]);
});
