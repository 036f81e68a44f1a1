import type { LlmInput } from '../../../lib/index.ts';
import { closing, request, until, type TestLike } from '../../support/client.ts';
import { startGate } from '../../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, ROOT_KEY, startNewapi } from '../../support/newapi.ts';
import { fullBacklog, startProvider, type Provider } from '../../support/provider.ts';
import { bearer, chat, OWN } from '../../support/scene.ts';
import { METRICS_TOKEN } from '../gate.ts';
import { anyModel, look, questions, send, type Right } from './question.ts';
import { expected, type Setting } from './rules.ts';
import { addLeft, complain, count, inWorld, tally, type Tally } from './trial.ts';
import { countingClock, leftIn, outlasting, type World } from './world.ts';

const question = questions.stream;

/** What so many clients see who ask at once. */
async function crowd(world: World, right: Right, size: number): Promise<string[]> {
  const seen = await Promise.all(Array.from({ length: size }, () => send(world.gate.url, question, anyModel, world.headers)));
  return seen.map((received) => look(received, right, ['primary', 'backup']));
}

/** @param due what every one of them must see. */
function judge(counted: Tally, name: string, views: readonly string[], due: string): void {
  for (const view of views) {
    count(counted, view, due);
    if (view !== due) complain(counted, `${name}: the client sees ${JSON.stringify(view)}, by the rules ${JSON.stringify(due)}`);
  }
}

/** A first target that neither accepts nor refuses connections. */
export async function stallsAtConnect(setting: Setting): Promise<Tally> {
  const counted = tally();
  const nowhere = await fullBacklog();
  // Nobody has a caller verified who never answers: NewAPI's second door takes the place of a target of ours.
  const door = setting.first === 'NewAPI' && setting.backup;
  const llm = (primary: Provider): LlmInput => ({ endpoint: `${nowhere.url}/v1`, backupProviders: [{ provider: 'newapi', endpoint: primary.endpoint }] });
  await inWorld(counted, setting, { at: nowhere.url, connect: 200, ...(door && { llm }) }, async (world) => {
    const right = await world.right(question);
    const { view } = expected('refused', { ...setting, free: false, media: false, told: '' });
    judge(counted, 'at connect', await crowd(world, right, 20), door ? 'primary' : view);
  }).finally(nowhere.close);
  return counted;
}

const threshold = 5;
const reopens = 10;
const honest = `503 no_target after ${reopens}`;

/** Every target goes away and comes back: fail fast with an honest time, one trial each, then all is well. */
export async function downAndBack(setting: Setting, rounds = 3): Promise<Tally> {
  const counted = tally();
  const config = { circuitBreaker: { failureThreshold: threshold, timeout: `${reopens}s`, maxRequests: 1 } };
  await inWorld(counted, setting, { config, llm: { retry: { maxRetries: 0 } } }, async (world) => {
    const targets = setting.backup ? [world.primary, world.backup] : [world.primary];
    const right = await world.right(question);
    await world.verify(true);
    const time = world.clock.stop();
    for (let round = 0; round < rounds; round++) {
      for (const target of targets) await target.stop();
      for (let n = 0; n < threshold; n++) judge(counted, 'down', await crowd(world, right, 1), '502 upstream_unreachable');
      judge(counted, 'open', await crowd(world, right, 20), honest);
      for (const target of targets) await target.restart();
      time.forward(reopens * 1000);
      await halfOpen(world, right, targets, counted);
      judge(counted, 'up again', await crowd(world, right, 20), 'primary');
    }
  });
  return counted;
}

/** Each target is tried by one request; whoever comes meanwhile is turned away at once. */
async function halfOpen(world: World, right: Right, targets: readonly Provider[], counted: Tally): Promise<void> {
  const trials: Promise<string[]>[] = [];
  for (const target of targets) {
    target.clear();
    await target.script([{ kind: 'slow', delay: 5000 }]);
    trials.push(crowd(world, right, 1));
    await until(() => target.calls.length === 1, 'a trial');
  }
  judge(counted, 'half-open', await crowd(world, right, 20), honest);
  for (const [n, trial] of trials.entries()) judge(counted, 'a trial', await trial, n === 0 ? 'primary' : 'backup');
  const asked = targets.map(({ calls }) => calls.length);
  if (asked.some((calls) => calls !== 1)) complain(counted, `half-open: asked ${asked}`);
}

const requestsEach = 1000;
const limit = 10;

/** One user asks for a model that does not exist, another exhausts NewAPI's own limit: a third is served throughout. */
export async function neighbours(): Promise<Tally> {
  const counted = tally();
  const closers: (() => unknown)[] = [];
  const scope: TestLike = { after: (run) => void closers.push(run) };
  const api = await startNewapi({ keys: { [DEMO_KEY]: { user: 1 }, [OTHER_KEY]: { user: 3, modelLimit: limit }, [ROOT_KEY]: { user: 2 } } });
  const backup = closing(scope, await startProvider({ name: 'backup', key: OWN }));
  const clock = countingClock();
  const gate = await startGate(scope, { newapi: { baseUrl: api.url }, metrics: { token: METRICS_TOKEN }, llm: { backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN }] } }, { clock });
  const ask = async (key: string, model = chat.model): Promise<string> => {
    const { status, text } = await request(`${gate.url}/v1/chat/completions`, { body: { ...chat, model }, headers: bearer(key) });
    return status === 200 ? 'primary' : `${status} ${/"code":"(\w*)"/.exec(text)?.[1] ?? ''}`.trim();
  };
  // All three are verified: their requests could be carried to the target that costs us money.
  for (const key of [DEMO_KEY, OTHER_KEY, ROOT_KEY]) judge(counted, 'at first', [await ask(key)], 'primary');
  for (let n = 1; n < limit; n++) judge(counted, 'within the limit', [await ask(OTHER_KEY)], 'primary');
  for (let n = 0; n < requestsEach; n += 20) {
    const twenty = Array.from({ length: 20 });
    const [wrong, limited, served] = await Promise.all([
      Promise.all(twenty.map(() => ask(DEMO_KEY, 'no-such-model'))),
      Promise.all(twenty.map(() => ask(OTHER_KEY))),
      Promise.all(twenty.slice(0, 5).map(() => ask(ROOT_KEY))),
    ]);
    judge(counted, 'no such model', wrong, '503 model_not_found');
    judge(counted, 'limited', limited, '429');
    judge(counted, 'a third', served, 'primary');
  }
  if (backup.connections > 0) complain(counted, `${backup.connections} connections to our own target`);
  if (api.requests.length !== counted.cases) complain(counted, `${counted.cases} requests, NewAPI saw ${api.requests.length}`);
  addLeft(counted, await leftIn(gate, clock, [backup]));
  for (const close of closers.reverse()) await close();
  counted.sockets += await outlasting(() => api.open);
  await api.close();
  return counted;
}
