import assert from 'node:assert/strict';
import { registerHooks } from 'node:module';
import { describe, it } from 'node:test';
import { resolveConfig, warningsOf } from '../../lib/config/load.ts';
import { heimdall, type ConfigInput } from '../../lib/index.ts';
import { looksLikeJwt } from '../../lib/keys/jwt.ts';
import { recorder } from '../support/gate.ts';

describe('looksLikeJwt', () => {
  it('is true of three parts in the alphabet of Base64url, signed or not', () => {
    for (const token of ['eyJ.eyJ.sig', 'a.b.', 'A-z_0.9.-']) assert.equal(looksLikeJwt(token), true, token);
    for (const key of ['', 'sk-abc', 'a.b', 'a.b.c.d', '.b.c', 'a b.c.d', 'a.b.c=', `sk-${'k'.repeat(48)}-1`]) assert.equal(looksLikeJwt(key), false, key);
  });

  it('takes time linear to the length: a square of it would outlast every test', () => {
    assert.equal(looksLikeJwt('a.'.repeat(1_000_000)), false);
  });
});

describe('mode jwt', () => {
  it('says which package it needs where that is missing, before anybody calls', () => {
    const hooks = registerHooks({
      resolve(name, context, next) {
        if (name === 'jose') throw new Error('Cannot find package');
        return next(name, context);
      },
    });
    const jwt = { issuer: 'https://login.example.test/', audience: 'heimdall', jwksUri: 'https://login.example.test/jwks' };
    try {
      assert.throws(() => heimdall({ auth: { mode: 'jwt', jwt } }, { log: recorder() }), /auth\.mode: expected the package jose beside this one, got nothing\. Example: npm install jose/);
    } finally {
      hooks.deregister();
    }
  });

  it('warns where its callers would reach no target', () => {
    const jwt = { issuer: 'a', audience: 'b', jwksUri: 'https://a.test/jwks' };
    const warned = (config: ConfigInput): boolean => warningsOf(resolveConfig(config)).some((line) => line.includes('reach no target'));
    assert.equal(warned({ auth: { mode: 'jwt', jwt } }), true);
    assert.equal(warned({ auth: { mode: 'jwt', jwt: { ...jwt, upstreamCredential: 'sk-up' } } }), false);
    assert.equal(warned({ auth: { mode: 'jwt', jwt }, llm: { backupProviders: [{ provider: 'openai', apiKey: 'k' }] } }), false);
  });

  it('needs its issuer, audience and place of keys, and takes no key over an open line', () => {
    const missing = (jwt: object): string => {
      try {
        heimdall({ auth: { mode: 'jwt', jwt } }, { log: recorder() });
        return 'nothing';
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.match(missing({}), /auth\.jwt\.issuer.*\n.*auth\.jwt\.audience.*\n.*auth\.jwt\.jwksUri/);
    assert.match(missing({ issuer: 'a', audience: 'b', jwksUri: 'http://login.example.test/jwks' }), /jwksUri: expected an https URL/);
    assert.match(missing({ issuer: 'a', audience: 'b', jwksUri: 'https://a.test/jwks', algorithms: ['HS256'] }), /algorithms\[0\]/);
    assert.match(missing({ issuer: 'a', audience: 'b', jwksUri: 'https://a.test/jwks', algorithms: ['none'] }), /algorithms\[0\]/);
  });
});
