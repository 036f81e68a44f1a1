import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { exportSPKI, generateKeyPair, UnsecuredJWT } from 'jose';
import type { Claims, Issuer } from '../support/issuer.ts';
import { startJwtScene, type JwtScene } from '../support/jwt-scene.ts';
import { shared } from '../support/shared.ts';

const hour = 3600;
const claims: Readonly<Record<string, (second: number) => Claims>> = {
  'of another issuer': () => ({ iss: 'https://login.example.test' }),
  'without an issuer': () => ({ iss: null }),
  'for another audience': () => ({ aud: 'another' }),
  'for nobody': () => ({ aud: null }),
  'for an audience in other letters': () => ({ aud: 'Heimdall' }),
  'that has expired': (second) => ({ exp: second - 6 }),
  'that never expires': () => ({ exp: null }),
  'whose expiry is no number': () => ({ exp: '9999999999' as unknown as number }),
  'that is not good yet': (second) => ({ nbf: second + hour }),
  'without a subject': () => ({ sub: null }),
  'with a number for a subject': () => ({ sub: 42 as unknown as string }),
  'with a list for a subject': () => ({ sub: ['alice'] as unknown as string }),
  'with a truth for a subject': () => ({ sub: true as unknown as string }),
  'with an empty subject': () => ({ sub: '' }),
  'with a line break in its subject': () => ({ sub: 'alice\nX-Admin: 1' }),
  'with letters beyond ASCII in its subject': () => ({ sub: 'alicé' }),
  'with a subject too long for a name': () => ({ sub: 'a'.repeat(256) }),
};

const common = shared((scope) => startJwtScene(scope));

for (const [what, made] of Object.entries(claims)) {
  test(`a token ${what} is refused, logged with the address and repeated to nobody`, async () => {
    const scene = await common();
    // An address may be refused only so often a minute.
    scene.clock.tick(60_000);
    const token = await scene.issuer.sign(made(Math.floor(scene.clock.now() / 1000)));
    await refused(scene, token);
  });
}

async function refused(scene: JwtScene, token: string): Promise<void> {
  const before = scene.gate.log.named('auth.failed').length;
  for (let round = 0; round < 2; round++) {
    const answer = await scene.ask(token);
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.json<{ error: { code: string } }>().error.code, 'invalid_credential');
    assert.doesNotMatch(answer.text, /eyJ|alice|exp|aud|iss\b|signature/);
  }
  const failed = scene.gate.log.named('auth.failed').slice(before);
  assert.deepEqual(failed.map(({ ip }) => ip), ['127.0.0.1', '127.0.0.1']);
  assert.doesNotMatch(JSON.stringify(scene.gate.log.events), /eyJ/);
  assert.deepEqual([scene.newapi.connections, scene.backup.connections], [0, 0]);
}

const parts = (token: string): [string, string, string] => token.split('.') as [string, string, string];
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token somebody made who does not have the issuer's key. */
const forgeries: Readonly<Record<string, (issuer: Issuer, second: number) => Promise<string>>> = {
  'without a signature (alg none)': async ({ name, audience }, second) => new UnsecuredJWT({}).setIssuer(name).setAudience(audience).setSubject('alice').setExpirationTime(second + hour).encode(),
  'that says alg none beside a real signature': async (issuer) => {
    const [, body, signature] = parts(await issuer.sign());
    return `${encoded({ alg: 'none', kid: 'first' })}.${body}.${signature}`;
  },
  'signed with the public key as a password (HS256)': async (issuer) => {
    const { publicKey } = await issuer.add('rsa', 'RS256');
    const [, body] = parts(await issuer.sign());
    const head = encoded({ alg: 'HS256', kid: 'rsa', typ: 'JWT' });
    return `${head}.${body}.${createHmac('sha256', await exportSPKI(publicKey)).update(`${head}.${body}`).digest('base64url')}`;
  },
  'of another key by the same name': async (issuer) => issuer.sign({}, { kid: 'first', alg: 'ES256', ...(await generateKeyPair('ES256')) }),
  'that brings its own key': async (issuer) => {
    const pair = await generateKeyPair('ES256', { extractable: true });
    return issuer.sign({}, { kid: 'mine', alg: 'ES256', ...pair }, { jwk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' } });
  },
  'that says where to fetch its key': async (issuer) => issuer.sign({}, { kid: 'mine', alg: 'ES256', ...(await generateKeyPair('ES256')) }, { jku: 'http://127.0.0.1:1/jwks' }),
  'whose key is named by a path': async (issuer) => issuer.sign({}, { kid: '../../../dev/null', alg: 'ES256', ...(await generateKeyPair('ES256')) }),
  'whose key is named by a list': async (issuer) => issuer.sign({}, { kid: ['first'] as unknown as string, alg: 'ES256', ...(await generateKeyPair('ES256')) }),
  'by an algorithm nobody listed': async (issuer) => issuer.sign({}, await issuer.add('other', 'ES512')),
  'with an extension nobody knows': async (issuer) => {
    const [, body, signature] = parts(await issuer.sign());
    return `${encoded({ alg: 'ES256', kid: 'first', crit: ['exp'] })}.${body}.${signature}`;
  },
  'whose claims were changed': async (issuer) => {
    const [head, body, signature] = parts(await issuer.sign());
    const claimed = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
    return `${head}.${encoded({ ...claimed, sub: 'root' })}.${signature}`;
  },
  'without its signature': async (issuer) => `${parts(await issuer.sign()).slice(0, 2).join('.')}.`,
  'with one letter of its signature changed': async (issuer) => (await issuer.sign()).replace(/\.(.)([^.]*)$/, (_, letter: string, rest: string) => `.${letter === 'A' ? 'B' : 'A'}${rest}`),
  'longer than any': async (issuer) => issuer.sign({ padding: 'x'.repeat(20_000) }),
  'that is none': async () => 'eyJ.eyJ.eyJ',
};

for (const [what, forge] of Object.entries(forgeries)) {
  test(`a token ${what} is refused`, async (t) => {
    const scene = await startJwtScene(t);
    await refused(scene, await forge(scene.issuer, Math.floor(scene.clock.now() / 1000)));
  });
}
