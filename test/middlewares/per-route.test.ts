import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chain, optional, ordered } from '../../lib/chain.ts';
import type { Context, Core } from '../../lib/request/context.ts';
import { onRoutes } from '../../lib/middlewares/per-route.ts';
import type { Deps, Middleware, Part } from '../../lib/middlewares/middleware.ts';
import { routeOf, routeTable } from '../../lib/upstream/routes.ts';
import type { MiddlewareName, RouteConfig } from '../../types/config.d.ts';

const row = (path: string, middleware: readonly MiddlewareName[]): RouteConfig => ({ path, handler: 'proxy', version: null, methods: null, middleware, headers: {}, healthCheck: null });

/** The names of the parts, with a star for those that only some routes have. */
function names(global: readonly string[] | null, ...lists: readonly (readonly MiddlewareName[])[]): string[] {
  const { rows } = routeTable(lists.map((list, at) => row(`/r${at}`, list)));
  return onRoutes(chain, ordered(global), rows).map((part) => (chain.includes(part) ? part.name : `${part.name}*`));
}

describe('the parts that only some routes have', () => {
  it('are none where the whole chain runs, or no route lists any', () => {
    assert.deepEqual(names(null, ['auth', 'cors']), chain.map(({ name }) => name));
    assert.deepEqual(names(['auth'], []), ordered(['auth']).map(({ name }) => name));
  });

  it('stand at their places in the chain, in whatever order they are listed', () => {
    const all = [...optional] as MiddlewareName[];
    const whole = chain.map(({ name }) => (optional.has(name) ? `${name}*` : name));
    assert.deepEqual(names([], all), whole);
    assert.deepEqual(names([], all.toReversed()), whole);
    assert.deepEqual(names([], ...all.map((name) => [name])), whole);
  });

  it('stand before what they protect, in whatever order the others run', () => {
    for (const global of [['auth'], ['auth', 'cors'], ['cors', 'auth'], ['logging', 'auth', 'security_headers']]) {
      const found = names(global, ['rate_limit']);
      assert.ok(found.indexOf('rate_limit*') < found.indexOf('auth'), found.join());
      assert.deepEqual(found.filter((name) => name !== 'rate_limit*'), ordered(global).map(({ name }) => name));
    }
  });
});

describe('such a part', () => {
  const said: string[] = [];
  const say = (what: string) => (): void => void said.push(what);
  const probe: Middleware = {
    name: 'cors',
    create: (): Part => ({
      handle: (_context, next) => (said.push('handle'), next()),
      every: say('every'), own: say('own'), proxied: say('proxied'),
      finish: { settle: say('settle'), record: say('record') },
      close: say('close'),
    }),
  };
  const { rows, routeOf: of } = routeTable([row('/mine', ['cors']), row('/other', [])]);
  const last: Middleware = { name: 'panic_recovery', create: () => ({}) };
  const part = (onRoutes([probe, last], [last], rows)[0] as Middleware).create({} as Core, {} as Deps);

  function run(method: string, path: string): string[] {
    said.length = 0;
    const context = { route: of(method, path) } as unknown as Context;
    part.handle?.(context, say('next'));
    for (const head of [part.every, part.own, part.proxied]) head?.(context, []);
    part.finish?.settle?.(context);
    part.finish?.record?.(context);
    return [...said];
  }

  it('does all it does for its routes, their preflights included, and nothing for others', () => {
    for (const method of ['GET', 'POST', 'OPTIONS', 'PURGE']) assert.deepEqual(run(method, '/mine'), ['handle', 'next', 'every', 'own', 'proxied', 'settle', 'record'], method);
    for (const path of ['/other', '/none', '/v1/chat/completions', '/mine/x']) assert.deepEqual(run('POST', path), ['next'], path);
    assert.equal(of('POST', '/none'), routeOf('POST', '/none'));
  });

  it('has no stage it would not have had, and closes once', () => {
    assert.deepEqual(Object.keys(part.finish ?? {}), ['settle', 'record']);
    said.length = 0;
    void part.close?.();
    assert.deepEqual(said, ['close']);
  });
});
