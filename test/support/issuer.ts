import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose';
import type { TestLike } from './client.ts';

/** A key of the issuer, by the name it has in the set. */
export interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** Claims laid over those of a good token; null takes one away. */
export type Claims = { readonly [claim in keyof JWTPayload]?: JWTPayload[claim] | null };

/** An identity provider: signs tokens and says by which keys. */
export interface Issuer {
  readonly name: string;
  readonly audience: string;
  readonly jwksUri: string;
  /** What a gate is configured with. */
  readonly jwt: { readonly issuer: string; readonly audience: string; readonly jwksUri: string };
  /** How often its keys were asked for. */
  readonly asked: number;
  /** Makes another key, which the set holds from now on. */
  add(kid: string, alg?: string): Promise<IssuerKey>;
  /** Takes a key out of the set. */
  remove(kid: string): void;
  /** A token good for an hour, by its newest key unless another is named. */
  sign(claims?: Claims, key?: IssuerKey, header?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Answers in the set's place until it is null again. */
  answerWith(answer: RequestListener | null): void;
  stop(): Promise<void>;
  restart(): Promise<void>;
}

/** @param now Unix milliseconds by which tokens are dated. */
export async function startIssuer(t: TestLike, now: () => number = Date.now): Promise<Issuer> {
  const set = new Map<string, IssuerKey & { readonly jwk: JWK }>();
  let asked = 0;
  let instead: RequestListener | null = null;
  const server = createServer((req, res) => {
    asked++;
    if (instead !== null) return instead(req, res);
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ keys: [...set.values()].map(({ jwk }) => jwk) }));
  });
  const port = await listen(server, 0);
  t.after(() => stop(server));
  const name = 'https://login.example.test/';
  const jwt = { issuer: name, audience: 'heimdall', jwksUri: `http://127.0.0.1:${port}/jwks` };
  const add = async (kid: string, alg = 'ES256'): Promise<IssuerKey> => {
    const pair = await generateKeyPair(alg, { extractable: true });
    const key = { kid, alg, ...pair };
    set.set(kid, { ...key, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' } });
    return key;
  };
  await add('first');
  return {
    ...jwt,
    name,
    jwt,
    get asked() {
      return asked;
    },
    add,
    remove: (kid) => void set.delete(kid),
    sign(claims = {}, key = [...set.values()].at(-1), header = {}) {
      if (key === undefined) throw new Error('the issuer has no key');
      const second = Math.floor(now() / 1000);
      const whole = { iss: name, aud: 'heimdall', sub: 'alice', iat: second, exp: second + 3600, ...claims };
      const payload = Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== null));
      return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header }).sign(key.privateKey);
    },
    answerWith: (answer) => void (instead = answer),
    stop: () => stop(server),
    restart: async () => void (await listen(server, port)),
  };
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
