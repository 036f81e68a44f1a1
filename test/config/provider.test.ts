import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { printable, resolveConfig } from '../../lib/config/load.ts';
import type { Config, ConfigInput } from '../../types/config.d.ts';
import type { Provider } from '../../types/provider.d.ts';
import { problems, refusals } from './tools.ts';

const endpoint = 'https://api.mine.test/v1';
const configOf = (provider: unknown, more: ConfigInput['llm'] = {}): Config => resolveConfig({ llm: { backupProviders: [{ provider: provider as Provider, ...more }] } });
const held = (provider: Provider): Provider => configOf(provider).llm.backupProviders[0]?.provider as Provider;
const refused = (provider: unknown): string[] => refusals(() => configOf(provider)).map((line) => line.replace('llm.backupProviders[0].', ''));

describe('a provider of code\'s own', () => {
  it('stays as it was given, and nothing of it is frozen', () => {
    const mine = { name: 'Mine', endpoint: `${endpoint}/`, speaks: ['/v1/models'], credential: (key: string) => ['X-Key', key], probe: () => '/up', errorStatus: () => 429 };
    const { name, endpoint: at, speaks, credential, probe, errorStatus } = held(mine);
    assert.deepEqual([name, at, speaks, credential?.('k', ''), probe?.('/v1'), errorStatus?.({}, 500)], ['mine', endpoint, ['/v1/models'], ['X-Key', 'k'], '/up', 429]);
    mine.speaks.push('/v1/completions');
    mine.name = 'other';
    assert.deepEqual([name, speaks], ['mine', ['/v1/models']]);
  });

  it('may be an object of a class, whose methods know it', () => {
    class Mine implements Provider {
      readonly name = 'mine';
      readonly endpoint = endpoint;
      #prefix = 'p-';
      credential(key: string): readonly string[] {
        return ['X-Key', this.#prefix + key];
      }
      get speaks(): readonly string[] {
        return ['/v1/models'];
      }
    }
    const { credential, speaks, probe } = held(new Mine());
    assert.deepEqual([credential?.('k', ''), speaks, probe], [['X-Key', 'p-k'], ['/v1/models'], undefined]);
  });

  it('may stand where llm is, which then is no NewAPI', () => {
    const config = resolveConfig({ llm: { provider: { name: 'mine' }, endpoint } });
    assert.deepEqual([config.auth.mode, config.llm.provider], ['keys', { name: 'mine' }]);
    assert.deepEqual(refusals(() => resolveConfig({ auth: { mode: 'passthrough' }, llm: { provider: { name: 'mine', endpoint } } })), [
      'auth.mode: expected keys, because llm.provider is mine and every caller could use that credential, got "passthrough". Example: keys',
    ]);
  });

  it('is printed by its name', () => {
    assert.match(stringify(printable(configOf({ name: 'mine', endpoint, credential: () => [] }))), /provider: mine\n/);
  });

  it('is refused field by field, by name, what was expected and what came', () => {
    const given = { name: 'new api', endpoint: 'ftp://x', speaks: [], credential: 'Bearer', probe: true, errorStatus: {} };
    assert.deepEqual(refused(given), [
      'provider.name: expected letters, digits, ., _ and -, and not newapi, got "new api". Example: mine',
      'provider.endpoint: expected an http or https URL without user, query or fragment, or null, got "ftp://x". Example: https://api.openai.com/v1',
      'provider.speaks: expected a list of route templates, or all, got a list of 0. Example: ["/v1/chat/completions"]',
      'provider.credential: expected a function that gives a flat list of header names and values, got "Bearer". Example: (key) => [\'X-Api-Key\', key]',
      'provider.probe: expected a function that gives a path, got true. Example: (base) => `${base}/models`',
      'provider.errorStatus: expected a function that gives an HTTP status from 400 to 599, got a section of keys. Example: (error, status) => status',
    ]);
    assert.deepEqual(refused({ endpoint }), ['provider.name: expected letters, digits, ., _ and -, and not newapi, got nothing. Example: mine']);
    for (const name of ['newapi', 'NewAPI', '', 7]) assert.equal(refused({ name, endpoint }).length, 1, String(name));
  });

  it('is refused when its functions give what cannot be sent', () => {
    const wrong: [Partial<Record<keyof Provider, unknown>>, string][] = [
      [{ credential: () => 'Bearer k' }, 'got "Bearer k"'],
      [{ credential: () => ['X-Key'] }, 'got a list of 1'],
      [{ credential: () => ['X-Key', 1] }, 'got a list with an item that is not text'],
      [{ credential: (key: string) => ['X Key', key] }, 'got an invalid header name at 0'],
      [{ credential: (key: string) => ['X-Key', `${key}\r\nX-Evil: 1`] }, 'got an invalid header value at 1'],
      [{ speaks: ['/v1/models', '/v1/messages'], credential: (_key: string, template: string) => (template === '/v1/messages' ? null : []) }, 'got nothing'],
      [{ credential: () => { throw new Error('no clock'); } }, 'got an error: "no clock"'],
      [{ probe: () => 'status' }, 'got "status"'],
      [{ probe: () => undefined }, 'got nothing'],
      [{ probe: () => '/a b' }, 'got "/a b"'],
      [{ errorStatus: () => 200 }, 'got 200'],
      [{ errorStatus: (error: unknown) => (error as { code: number }).code }, 'got nothing'],
      [{ errorStatus: (error: { code?: unknown } | null) => (error === null ? 'x' : 500) }, 'got "x"'],
    ];
    for (const [fields, got] of wrong) {
      const [line = '', ...more] = refused({ name: 'mine', endpoint, ...fields });
      assert.ok(line.includes(`${got}. Example`) && more.length === 0, `${line} ${more.join()}`);
    }
  });

  it('needs an endpoint somewhere', () => {
    const line = 'endpoint: expected the base URL of its API, here or in the provider, got nothing. Example: https://api.openai.com/v1';
    assert.deepEqual([refused({ name: 'mine' }), refused({ name: 'openai' }), refused({ name: 'mine', endpoint: null })], [[line], [line], [line]]);
    assert.deepEqual(refusals(() => configOf({ name: 'mine' }, { endpoint })), []);
  });

  it('is for code alone', () => {
    assert.deepEqual(problems('llm: { provider: { name: mine, endpoint: "http://h/v1" } }'), ['llm.provider: expected the name of a provider; an object is accepted in code only, got a section of keys. Example: openai']);
  });

  it('hides no other problem', () => {
    assert.deepEqual(refusals(() => resolveConfig({ server: { port: -1 }, llm: { provider: { name: '', endpoint } } })).map((line) => line.split(':')[0]), ['server.port', 'llm.provider.name']);
  });
});
