import { openStream, until, within, type LiveStream } from '../../support/client.ts';
import { fullBacklog, type Fault } from '../../support/provider.ts';
import { modelNamed, questions, type Questions } from './question.ts';
import type { Setting } from './rules.ts';
import { complain, inWorld, tally, type Tally } from './trial.ts';
import { patience, type World } from './world.ts';

const clients = 10;
/** Within this time the upstream must see that a client has left, milliseconds; a test must pass on a machine that is busy, too. */
const atOnce = process.env['NODE_TEST_CONTEXT'] === undefined ? 250 : 60_000;

/** Where a client is when it leaves. */
interface Phase {
  readonly name: string;
  /** Met by every request. */
  readonly fault: Fault;
  /** Default `stream`. */
  readonly question?: Questions;
  /** The client has seen something of its answer. */
  readonly reading?: boolean;
  /** The upstream has nothing in hand then, since the gate waits. */
  readonly waits?: true;
}

const phases: readonly Phase[] = [
  { name: 'waiting for a stream', fault: { kind: 'hang', at: 'headers' } },
  { name: 'waiting for a document', fault: { kind: 'hang', at: 'headers' }, question: 'chat' },
  { name: 'waiting for audio', fault: { kind: 'hang', at: 'headers' }, question: 'speech' },
  { name: 'before the first event', fault: { kind: 'hang', at: 'first_event' } },
  { name: 'among comments', fault: { kind: 'comments_only', every: 20 } },
  { name: 'within a document', fault: { kind: 'hang', at: 'middle' }, question: 'chat' },
  { name: 'within a stream', fault: { kind: 'slow', delay: 30, at: 'events' }, reading: true },
  { name: 'within a stream that stalls', fault: { kind: 'hang', at: 'middle' }, reading: true },
  { name: 'after [DONE]', fault: { kind: 'hang', at: 'after_done' }, reading: true },
  { name: 'within audio', fault: { kind: 'hang', at: 'middle' }, question: 'speech', reading: true },
];
const rests: readonly Phase[] = [
  { name: 'between two rounds', fault: { kind: 'status', status: 500 }, waits: true },
  { name: 'while a target rests', fault: { kind: 'status', status: 429, headers: { 'Retry-After': '4' } }, waits: true },
];

/** Clients that leave, in every phase: the upstream sees it at once, nobody else is asked, nothing stays. */
export async function leaving(setting: Setting): Promise<Tally> {
  const counted = tally();
  const retries = setting.first === 'ours' && !setting.backup;
  await inWorld(counted, setting, { llm: { retry: { initialDelay: 60_000, maxDelay: 60_000 } } }, async (world) => {
    await world.verify(true);
    for (const [n, phase] of [...phases, ...(retries ? rests : [])].entries()) await leaveIn(world, phase, modelNamed(n), counted);
  });
  const nowhere = await fullBacklog();
  await inWorld(counted, { ...setting, backup: false }, { at: nowhere.url }, (world) => whileConnecting(world, counted)).finally(nowhere.close);
  await inWorld(counted, setting, { config: { queue: { concurrency: 1 } } }, (world) => whileQueued(world, counted));
  return counted;
}

async function leaveIn(world: World, { name, fault, question = 'stream', reading = false, waits }: Phase, model: string, counted: Tally): Promise<void> {
  const { primary, backup } = world;
  for (const provider of [primary, backup]) provider.clear();
  await primary.script(fault);
  // However late a client comes: those that were here before it wait yet.
  const held = waits === undefined ? null : world.clock.hold('upstream/forward.ts');
  const { leave, streams } = enter(world, question, model);
  const here = (): boolean => world.live() === clients && (held === null ? primary.calls.length >= clients : held.count() === clients);
  await until(() => here() && primary.calls.every(({ received, finished }) => (waits === undefined ? received : finished)), `${clients} requests ${name}`);
  if (reading) await until(() => streams.length === clients && streams.every(({ chunks }) => chunks.length > 0), `${clients} clients ${name} read`);
  const before = primary.calls.length;
  const inHand = await world.exchanges();
  leave();
  const seen = waits !== undefined || (await holds(() => primary.calls.every(({ aborted }) => aborted)));
  await settled(world);
  held?.release();
  const asked = `${primary.calls.length},${backup.calls.length}`;
  counted.cases += clients;
  if (seen && asked === `${before},0` && inHand === (waits === undefined ? clients : 0)) return;
  complain(counted, `${name}: ${seen ? '' : `not seen within ${atOnce} ms; `}asked ${asked}, ${inHand} in hand`);
}

/** Nothing of a request may go out after its client has left. */
async function whileConnecting(world: World, counted: Tally): Promise<void> {
  const { leave } = enter(world, 'stream', modelNamed(0));
  await until(() => world.live() === clients);
  leave();
  counted.cases += clients;
  if (!(await holds(() => world.live() === 0))) complain(counted, `connecting: ${world.live()} stay`);
}

/** Who waits for a slot reaches nobody. */
async function whileQueued(world: World, counted: Tally): Promise<void> {
  const { primary } = world;
  await world.verify(true);
  primary.clear();
  await primary.script({ kind: 'hang', at: 'headers' });
  const holder = enter(world, 'stream', modelNamed(0), 1);
  await until(() => primary.calls.length === 1);
  const { leave } = enter(world, 'stream', modelNamed(1));
  await until(() => world.live() === clients + 1);
  leave();
  counted.cases += clients;
  if (!(await holds(() => world.live() === 1))) complain(counted, `queued: ${world.live() - 1} stay`);
  holder.leave();
  await settled(world);
  if (primary.calls.length !== 1) complain(counted, `queued: asked ${primary.calls.length}`);
}

/** Clients on their way in. */
function enter({ gate, headers }: World, question: Questions, model: string, count = clients): { leave(): void; streams: LiveStream[] } {
  const gone = new AbortController();
  const streams: LiveStream[] = [];
  const { path, body } = questions[question as 'stream'];
  for (let n = 0; n < count; n++) {
    openStream(gate.url + path, { headers, body: { model, ...body }, signal: gone.signal }).then((stream) => streams.push(stream), () => {});
  }
  return { leave: () => gone.abort(), streams };
}

const holds = (check: () => boolean): Promise<boolean> => within(atOnce, check);
const settled = ({ live }: World): Promise<unknown> => within(patience, () => live() === 0);
