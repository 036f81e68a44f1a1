import type { Signal, Subject } from '../../types/detector.d.ts';
import { parameters } from './parameters.ts';
import { isAgent, Line, liveDay, machine, type Machine, network4, type Kind, type Person, sit, sittingTime, signalOf } from './people.ts';
import { type Random, randomOf } from './random.ts';

const models = ['claude-sonnet', 'claude-haiku', 'claude-opus', 'gpt-5', 'gpt-5-mini', 'gemini-pro', 'qwen-coder', 'deepseek', 'glm', 'kimi', 'o4', 'llama'];

/** A key with the people who rightly use it. */
export interface Owner {
  readonly kind: Kind;
  readonly person: Person;
  readonly day: (from: number, factor: number, out: Signal[]) => void;
}

export interface World {
  readonly owners: readonly Owner[];
  readonly seed: number;
}

/** Everybody who uses the gate rightly. */
export function populate(seed: number, keys: number): World {
  const kinds = kindsOf(keys);
  const random = randomOf(seed, 'world');
  const offices = Array.from({ length: Math.ceil(keys / parameters.officeSize) }, () => Line.make(random));
  const carrier = Array.from({ length: parameters.cgnatNetworks }, (_, at) => Line.of(network4(random, false, 7000 + (at % 2))));
  const owners = kinds.map((kind, at) => owner(kind, { kind: 'token', id: at.toString(16).padStart(16, '0') }, randomOf(seed, `key ${at}`), offices[Math.floor(at / parameters.officeSize)] as Line, carrier));
  return { owners, seed };
}

/** Shares in turn, so that each kind is there from some thirty keys on. */
function kindsOf(keys: number): Kind[] {
  const entries = Object.entries(parameters.population) as [Kind, number][];
  const given = new Map<Kind, number>();
  return Array.from({ length: keys }, (_, at) => {
    let next = entries[0]?.[0] as Kind;
    let lack = Number.NEGATIVE_INFINITY;
    for (const [kind, share] of entries) {
      const missing = share * (at + 1) - (given.get(kind) ?? 0);
      if (missing > lack) [next, lack] = [kind, missing];
    }
    given.set(next, (given.get(next) ?? 0) + 1);
    return next;
  });
}

/** A person with one line, one machine and a client of the given sort. */
export function stranger(caller: Subject, random: Random, client: string, zone = 0, line = Line.make(random)): Person {
  const sittings = random.logNormal(parameters.sittings.median, parameters.sittings.sigma);
  const own = random.of(models);
  return {
    caller, random, zone, sittings: Math.min(sittings, 12), machines: [machine(random, client, random.hex(8))],
    lineAt: () => line, models: [own, random.of(models), random.of(models)], service: false,
  };
}

function owner(kind: Kind, caller: Subject, random: Random, office: Line, carrier: readonly Line[]): Owner {
  const client = kind === 'chat' ? random.pick(parameters.chats) : kind === 'cgnat' ? random.pick({ ...parameters.chats, 'claude-code': 0.3 }) : random.pick(parameters.agents);
  const base = stranger(caller, random, client, random.int(-1, 1));
  const makers: Readonly<Record<Kind, () => Owner['day'] & { person?: Person }>> = {
    developer: () => plain(withTravel(base)),
    chat: () => plain(withTravel(base)),
    office: () => plain({ ...base, lineAt: () => office }),
    cgnat: () => plain({ ...base, lineAt: (_, sitting) => carrier[Math.abs(sitting * 7 + base.random.int(0, 0)) % carrier.length] as Line }),
    commuter: () => plain(commuter(base)),
    renumbered: () => plain(renumbered(base)),
    three_devices: () => threeDevices(base, random),
    service: () => plain(service(base, caller, random)),
  };
  return { kind, person: base, day: makers[kind]() };
}

/** The days of a person to whom new things happen now and then. */
function plain(person: Person): Owner['day'] {
  const { random } = person;
  return (from, factor, out) => {
    happen(person);
    liveDay(person, from, factor, out);
    if (random.chance(parameters.newClient)) tryClient(person, from, out);
  };
}

function happen(person: Person): void {
  const { random } = person;
  if (random.chance(parameters.newModel)) person.models = [...person.models.slice(-3), random.of(models)];
  if (random.chance(parameters.newMachine)) {
    const { client, home } = person.machines[0] as Machine;
    person.machines = [machine(random, client, home ?? random.hex(8))];
  }
}

/** Another program on the same machine, sometimes with another model, often with a tiny first request. */
function tryClient(person: Person, from: number, out: Signal[]): void {
  const { random } = person;
  const { home, platform } = person.machines[0] as Machine;
  const client = random.pick({ ...parameters.chats, ...parameters.agents });
  const tried = machine(random, client, home ?? random.hex(8), platform);
  const at = from + sittingTime(random);
  out.push(signalOf({ time: at - 30, person, machine: tried, network: person.lineAt(at, 1).pick(random), session: null, model: random.chance(0.3) ? random.of(models) : (person.models[0] as string), tokens: 30, size: 400 }));
  sit(person, at, tried, 1, out, 3);
}

function withTravel(person: Person): Person {
  const { random } = person;
  const home = person.lineAt(0, 0);
  let elsewhere: Line | null = null;
  let away = 0;
  return {
    ...person,
    morning() {
      elsewhere = random.chance(parameters.newNetwork) ? Line.make(random) : null;
      away = random.int(0, 4);
    },
    lineAt: (_, sitting) => (elsewhere !== null && sitting % 5 === away ? elsewhere : home),
  };
}

function commuter(person: Person): Person {
  const { random } = person;
  const { changes, networks } = parameters.commuter;
  const lines = Array.from({ length: networks }, () => Line.make(random));
  const slot = (14 * 3600) / changes;
  const salt = random.int(1, 1000);
  // A slot of the day has one line; the order differs from day to day.
  return { ...person, lineAt: (second) => lines[Math.imul(Math.floor(second / slot) + salt, 0x9e3779b1) >>> 0 > 0 ? (Math.imul(Math.floor(second / slot) + salt, 0x9e3779b1) >>> 8) % networks : 0] as Line };
}

function renumbered(person: Person): Person {
  const { random } = person;
  const line = Line.make(random);
  const wides = Array.from({ length: parameters.renumbered.wides }, () => random.int(0, 40_000));
  let wide = wides[0] as number;
  return {
    ...person,
    lineAt: () => line,
    morning() {
      if (!random.chance(parameters.renumbered.sameWide)) wide = random.of(wides);
      line.renumber(random, wide);
    },
  };
}

/** Laptop, desktop and jobs of one person. */
function threeDevices(base: Person, random: Random): Owner['day'] {
  const client = random.chance(0.7) ? 'claude-code' : 'codex';
  const home = random.hex(8);
  const laptop = machine(random, client, home);
  const desktop = machine(random, client, random.chance(parameters.twoNames) ? random.hex(8) : home);
  const person = withTravel({ ...base, machines: [laptop, desktop] });
  const wides = Array.from({ length: parameters.jobs.wides }, () => random.int(0, 255));
  const runners = Array.from({ length: parameters.jobs.networks }, (_, at) => Line.of(network4(random, true, wides[at % wides.length])));
  return (from, factor, out) => {
    happen({ ...person, machines: [laptop, desktop] });
    liveDay(person, from, factor, out);
    for (let run = random.poisson(parameters.jobs.runs * factor); run > 0; run--) {
      const job: Person = { ...person, machines: [], lineAt: ((line) => () => line)(random.of(runners)) };
      const container: Machine = { client, platform: 'linux x64', device: random.hex(16), home: null, automated: true };
      sit(job, from + sittingTime(random), container, 0, out, Math.ceil(parameters.jobs.requests / parameters.requestsATurn));
    }
    if (random.chance(parameters.bothAtOnce.chance)) {
      const at = from + sittingTime(random);
      sit(person, at, laptop, 2, out);
      sit(person, at + 60, desktop, 2, out, parameters.bothAtOnce.turns);
    }
  };
}

/** A program on a server that asks day and night. */
function service(base: Person, caller: Subject, random: Random): Person {
  const lines = Array.from({ length: random.int(1, 3) }, () => Line.of(network4(random, true)));
  return {
    ...base, caller, service: true, sittings: random.logNormal(1, 0.7), machines: [{ client: 'openai-python', platform: 'linux x64', device: null, home: null, automated: false }],
    lineAt: () => random.of(lines),
  };
}

export { models, isAgent };
