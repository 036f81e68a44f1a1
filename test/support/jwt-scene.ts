import { hash } from 'node:crypto';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, type Answer, type TestLike } from './client.ts';
import { fakeClock, type FakeClock } from './clock.ts';
import { startGate, type RunningGate } from './gate.ts';
import { startIssuer, type Issuer } from './issuer.ts';
import { DEMO_KEY, startNewapi, type Newapi } from './newapi.ts';
import { startProvider, type Provider } from './provider.ts';
import { bearer, chat, OWN } from './scene.ts';

/** Lets in beside the tokens, and has a credential for NewAPI. */
export const gatewayKey = 'sk-gate-key-of-somebody-without-a-jwt-000';

/** A gate that lets in the tokens of an issuer, before a provider it has a key for; NewAPI answers the rest. */
export interface JwtScene {
  readonly issuer: Issuer;
  readonly newapi: Newapi;
  readonly backup: Provider;
  readonly gate: RunningGate;
  readonly clock: FakeClock;
  ask(token: string, path?: string): Promise<Answer>;
}

/** Without a journal; `audit: {}` brings it. @param jwt laid over the issuer's own. */
export async function startJwtScene(t: TestLike, { jwt, ...config }: Omit<ConfigInput, 'auth'> & { readonly jwt?: object } = {}): Promise<JwtScene> {
  const clock = fakeClock();
  const issuer = await startIssuer(t, clock.now);
  const newapi = closing(t, await startNewapi());
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const gate = await startGate(
    t,
    {
      audit: false,
      newapi: { baseUrl: newapi.url },
      llm: { provider: 'openai', endpoint: backup.endpoint, apiKey: OWN },
      auth: { mode: 'jwt', jwt: { ...issuer.jwt, ...jwt }, keys: [{ name: 'machine', sha256: hash('sha256', gatewayKey), upstreamCredential: DEMO_KEY }] },
      ...config,
    },
    { clock },
  );
  const ask = (token: string, path = '/v1/chat/completions'): Promise<Answer> => request(gate.url + path, { headers: bearer(token), ...(path.endsWith('completions') && { body: chat }) });
  return { issuer, newapi, backup, gate, clock, ask };
}
