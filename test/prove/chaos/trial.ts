import { until, within } from '../../support/client.ts';
import type { Call, Fault } from '../../support/provider.ts';
import { anyModel, garbled, look, modelNamed, questions, send, type Headers, type Question, type Questions, type Right } from './question.ts';
import { expected, type Setting, type Trouble } from './rules.ts';
import { isOver, patience, startWorld, type Left, type World, type WorldOptions } from './world.ts';

/** One request, and what the first target does with it. */
export interface Case {
  readonly name: string;
  /** Met by the first requests; then all is well again. */
  readonly faults: Fault | readonly Fault[];
  readonly trouble: Trouble;
  /** What the client is told when nobody else may be asked, as `look` words it. */
  readonly told?: string;
  /** Default `stream`. */
  readonly question?: Questions;
  /** On a connection that has served before. */
  readonly reused?: boolean;
  /** Events that were whole before the answer broke off: none of them may be lost. */
  readonly events?: number;
  /** At least so long, milliseconds, where the same target is asked again. */
  readonly waits?: number;
}

/** A row of the table for every setting. */
export interface Scenario {
  readonly name: string;
  readonly settings: readonly Setting[];
  /** Where time matters a case is made when it is played. */
  readonly cases: () => Promise<readonly Case[]> | readonly (Case | (() => Case))[];
  /** Some cases take seconds. */
  readonly waits?: boolean;
  /** Whose API our own targets speak. Default OpenAI's. */
  readonly provider?: 'anthropic';
  /** Each case on a gate of its own: what it says holds for a while. */
  readonly apart?: boolean;
  /** Asked by callers whom nobody knows. */
  readonly strangers?: boolean;
}

/** What was counted. */
export interface Tally {
  cases: number;
  /** Requests whose client did not get one right answer. */
  failures: number;
  /** So many must fail by the rules. */
  due: number;
  /** Requests that did not go as the rules say: what the client saw, or how often whom was asked. */
  wrong: number;
  /** Answers with bytes twice, in the wrong place, or of two upstreams. */
  duplicates: number;
  /** Requests that upstreams worked on more often than the rules allow. */
  'second billings': number;
  /** Requests that upstreams worked on twice, as the rules allow. */
  'sent again as ruled': number;
  sockets: number;
  timers: number;
  slots: number;
  /** What was wrong, in words. */
  readonly complaints: string[];
}

export const tally = (): Tally => ({ cases: 0, failures: 0, due: 0, wrong: 0, duplicates: 0, 'second billings': 0, 'sent again as ruled': 0, sockets: 0, timers: 0, slots: 0, complaints: [] });

/** A row of the table. */
export const numbersOf = (counted: Tally): Readonly<Record<string, number>> => Object.fromEntries(Object.entries(counted).filter(([, value]) => typeof value === 'number'));

/** Nobody saw anything but what the rules say, and nothing stays. */
export const isClean = (counted: Tally): boolean =>
  counted.failures === counted.due && counted.wrong + counted.duplicates + counted['second billings'] + counted.sockets + counted.timers + counted.slots === 0;

/** Runs something on a gate of its own and counts what stays of it. */
export async function inWorld(counted: Tally, setting: Setting, options: WorldOptions, run: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld(setting, options);
  try {
    await run(world);
  } finally {
    addLeft(counted, await world.end());
  }
}

export function addLeft(counted: Tally, { sockets, timers, slots }: Left): void {
  counted.sockets += sockets;
  counted.timers += timers;
  counted.slots += slots;
}

/** Notes a request that went against the rules. */
export function complain(counted: Tally, text: string): void {
  counted.wrong++;
  counted.complaints.push(text);
}

/** Retries that a gate makes before any traffic has paid for more. */
const retriesAtFirst = 10;

/**
 * Plays a scenario in one setting.
 * @param most cases, spread evenly, for a short form.
 */
export async function play(scenario: Scenario, setting: Setting, most = Number.POSITIVE_INFINITY): Promise<Tally> {
  const counted = tally();
  const every = await scenario.cases();
  const stride = Math.max(1, Math.ceil(every.length / most));
  const cases = every.filter((_, n) => n % stride === 0);
  const atOnce = scenario.apart ? 1 : setting.first === 'ours' && !setting.backup ? retriesAtFirst * 1.5 : cases.length;
  for (let from = 0; from < cases.length; from += atOnce) {
    await inWorld(counted, setting, { provider: scenario.provider ?? 'openai' }, (world) => playSome(scenario, world, cases.slice(from, from + atOnce), counted));
  }
  return counted;
}

/** On one gate. */
async function playSome(scenario: Scenario, world: World, cases: readonly (Case | (() => Case))[], counted: Tally): Promise<void> {
  const rights = new Map<Question, Right>();
  for (const [n, made] of cases.entries()) {
    const each = typeof made === 'function' ? made() : made;
    const question: Question = questions[each.question ?? 'stream'];
    const right = rights.get(question) ?? (await world.right(question));
    rights.set(question, right);
    await trial(world, each, { question, right, model: modelNamed(n + 1), stranger: scenario.strangers ?? false }, counted);
  }
}

interface Trial {
  readonly question: Question;
  readonly right: Right;
  readonly model: string;
  readonly stranger: boolean;
}

async function trial(world: World, { name, faults, trouble, told = '', reused = false, events = 0, waits = 0 }: Case, { question, right, model, stranger }: Trial, counted: Tally): Promise<void> {
  const { primary, backup, gate, setting } = world;
  await world.verify(reused);
  for (const provider of [primary, backup]) provider.clear();
  await primary.script('kind' in faults ? faults : [...faults, { kind: 'ok', close: true }], () => true);
  const headers: Headers = stranger ? { Authorization: `Bearer sk-stranger-${model}` } : world.headers;
  const time = isSilent(faults) ? world.clock.stop() : null;
  const answer = send(gate.url, question, model, headers);
  if (time !== null) {
    await until(() => primary.calls.at(-1)?.stalled, 'a silent upstream');
    await arrived();
    time.forward(patience);
  }
  const received = await answer;
  time?.go();
  const asked = [primary.calls.length, backup.calls.length] as const;
  const named = (text: string): string => text.replaceAll(anyModel, model);
  const view = look(received, { primary: named(right.primary), backup: named(right.backup) }, asked[1] > 0 ? ['backup', 'primary'] : ['primary', 'backup']);
  const rule = expected(trouble, { ...setting, backup: setting.backup && !stranger, free: question.free ?? false, media: question.media ?? false, told });
  const calls = [...primary.calls, ...backup.calls];
  await within(patience, () => calls.every(isOver));
  counted.sockets += calls.filter((call) => !isOver(call)).length;
  count(counted, view, rule.view);
  bill(counted, calls, rule.asked[0] + rule.asked[1]);
  if (view !== rule.view || String(asked) !== String(rule.asked)) complain(counted, `${name}: the client sees ${JSON.stringify(view)}, by the rules ${JSON.stringify(rule.view)}; asked ${asked}, by the rules ${rule.asked}`);
  else if (asked[0] === 2 && received.took < waits) complain(counted, `${name}: asked again after ${Math.round(received.took)} ms`);
  else if (received.text.split('\n\n').length <= events) complain(counted, `${name}: ${events} events were whole, the client saw fewer`);
}

/** What was written within this process is read after some turns of its loop: by the gate, and then by the client. */
async function arrived(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The first target falls silent, so that only time can tell. */
const isSilent = (faults: Case['faults']): boolean => !('kind' in faults) && faults.some((fault) => fault.kind === 'hang' || (fault.kind === 'comments_only' && fault.count === undefined));

/** Counts one request by what its client saw. */
export function count(counted: Tally, view: string, due: string): void {
  const isAnswer = (text: string): boolean => text === 'primary' || text === 'backup';
  counted.cases++;
  if (!isAnswer(view)) counted.failures++;
  if (!isAnswer(due)) counted.due++;
  if (view === garbled) counted.duplicates++;
}

/** What an upstream answers at once, by itself, costs nobody anything. */
const costless: ReadonlySet<Fault['kind']> = new Set(['refuse', 'status', 'redirect', 'not_http', 'error_event']);
const costs = ({ received, fault }: Call): boolean => received && !costless.has(fault.kind);

/** @param allowed requests the rules send. */
function bill(counted: Tally, calls: readonly Call[], allowed: number): void {
  const billed = calls.filter(costs).length;
  const first = calls[0];
  const permitted = allowed > 1 && first !== undefined && costs(first) ? 2 : 1;
  if (billed > permitted) counted['second billings']++;
  else if (billed > 1) counted['sent again as ruled']++;
}
