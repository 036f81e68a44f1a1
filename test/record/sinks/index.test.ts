import '../../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../../lib/config/load.ts';
import type { Core } from '../../../lib/request/context.ts';
import { sinksOf } from '../../../lib/sinks/sinks.ts';
import type { Delivery, Sink } from '../../../types/sink.d.ts';
import { sinkContract } from '../../contracts/sink.ts';
import { fakeClock } from '../../support/clock.ts';

const delivered: Delivery = { kind: 'delivered' };
const held: Delivery = { kind: 'held', reason: 'nobody is there' };

describe('a sink of a program', () => {
  sinkContract('it', 'kept twice', async () => {
    const kept: number[] = [];
    let state: 'well' | 'gone' | 'hangs' = 'well';
    return {
      sink: {
        name: 'array',
        batch: 100,
        deliver: (records, signal) => new Promise((resolve) => {
          if (state === 'hangs') signal.addEventListener('abort', () => resolve(held));
          else if (state === 'gone') resolve(held);
          else if (records.some(({ request_path: path }) => path === '/v1/poison')) resolve({ kind: 'refused', reason: 'no' });
          else {
            kept.push(...records.map(({ id }) => id));
            resolve(delivered);
          }
        }),
      },
      taken: async () => kept,
      fail: async () => void (state = 'gone'),
      heal: async () => void (state = 'well'),
      hang: async () => void (state = 'hangs'),
      poison: { request_path: '/v1/poison' },
      secrets: [],
    };
  });

  it('is refused when it could not work', () => {
    const core = { config: resolveConfig({}), clock: fakeClock() } as unknown as Core;
    const sink: Sink = { name: 'mine', batch: 1, deliver: async () => delivered };
    const problems = (...own: unknown[]): string => {
      try {
        sinksOf(core.config, { core, rawToken: null }, own as Sink[]);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(problems(sink, { ...sink, name: 'other' }), '');
    assert.equal(problems({ ...sink, name: 'Mine!' }), 'options.sinks[0]: expected a name of a-z, 0-9, _ and -. Example: { name: "archive", … }');
    assert.equal(problems({ ...sink, name: 'postgres' }), 'options.sinks[0]: expected a name of its own, got "postgres", which is taken');
    assert.equal(problems(sink, sink), 'options.sinks[1]: expected a name of its own, got "mine", which is taken');
    assert.equal(problems({ ...sink, batch: 0 }), 'options.sinks[0]: expected a batch from 1 to 1000, got 0. Example: { batch: 100, … }');
    assert.equal(problems({ name: 'mine', batch: 1 }), 'options.sinks[0]: expected a function deliver(records, signal)');
  });
});
