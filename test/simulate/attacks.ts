import type { Signal, Subject } from '../../types/detector.d.ts';
import { parameters } from './parameters.ts';
import { isAgent, Line, liveDay, machine, type Machine, network4, type Person, signalOf } from './people.ts';
import { models, type Owner, stranger, type World } from './population.ts';
import { type Random, randomOf } from './random.ts';

export const kinds = ['shared_2', 'shared_5', 'shared_40', 'resold_pool', 'stolen_smashed', 'stolen_ramped', 'probe_first', 'credential_stuffing', 'key_spraying'] as const;
export type AttackKind = (typeof kinds)[number];

/** Seconds. */
const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** One case of an attack. */
export interface Attack {
  readonly kind: AttackKind;
  /** Client families of the owner and of the attackers. */
  readonly about: string;
  /** Callers or networks a finding about which counts as found. */
  readonly subjects: readonly Subject[];
  /** Callers that the attack touches beside them: findings about them are no false alarms. */
  readonly touched: readonly Subject[];
  /** Unix seconds from which a finding counts. */
  readonly begins: number;
  /** Day of the run on which the owners are quiet. */
  readonly isQuiet?: (from: number) => boolean;
  /** Adds the attack's requests of one day. Each request's id is put into `foreign`. */
  readonly day: (from: number, out: Signal[]) => void;
}

/** @param cases of each kind. @param first Unix seconds of the first counted day. @param days counted days. */
export function attacksOn(world: World, cases: number, first: number, days: number): readonly Attack[] {
  const random = randomOf(world.seed, 'attacks');
  const victims = world.owners.filter(({ kind }) => kind !== 'service' && kind !== 'three_devices');
  const taken = new Set<Owner>();
  const victim = (agents = 0): Owner => {
    const wantsAgent = random.chance(agents);
    for (;;) {
      const owner = random.of(victims);
      if (wantsAgent && !isAgent(owner.person.machines[0]?.client ?? '')) continue;
      if (taken.size < victims.length && taken.has(owner)) continue;
      taken.add(owner);
      return owner;
    }
  };
  return kinds.flatMap((kind) => Array.from({ length: cases }, (_, at) => {
    const own = randomOf(world.seed, `${kind} ${at}`);
    const begins = first + own.int(0, Math.max(0, days - 4)) * day;
    return makers[kind]({ kind, random: own, begins, victim, world, first });
  }));
}

interface Scene {
  readonly kind: AttackKind;
  readonly random: Random;
  readonly begins: number;
  readonly victim: (agents?: number) => Owner;
  readonly world: World;
  readonly first: number;
}

const makers: Readonly<Record<AttackKind, (scene: Scene) => Attack>> = {
  shared_2: (scene) => shared(scene, 1),
  shared_5: (scene) => shared(scene, 4),
  shared_40: (scene) => shared(scene, 39),
  resold_pool: resold,
  stolen_smashed: smashed,
  stolen_ramped: ramped,
  probe_first: probeFirst,
  credential_stuffing: stuffing,
  key_spraying: spraying,
};

/** Friends to whom the owner gave the key. */
function shared({ kind, random, begins, victim }: Scene, others: number): Attack {
  const { person } = victim(parameters.attacks.agentKeys);
  const people = Array.from({ length: others }, () => {
    const client = (person.machines[0] as Machine).client;
    // People who share a key mostly use what it was bought for.
    return stranger(person.caller, randomFrom(random), random.chance(0.85) ? client : random.pick(parameters.agents), random.chance(parameters.attacks.otherZone) ? random.int(5, 9) : person.zone);
  });
  return {
    kind, begins, about: aboutOf([person, ...people]), subjects: [person.caller], touched: [],
    day(from, out) {
      if (from >= begins) for (const each of people) liveDay(each, from, 1, out);
    },
  };
}

const aboutOf = (people: readonly Person[]): string => people.slice(0, 3).map(({ machines }) => machines[0]?.client).join(' + ');

const randomFrom = (random: Random): Random => randomOf(random.int(0, 2 ** 30), 'person');

/** A relay that sells the key to customers, from one server. Half of the relays write one device id over those of the customers. */
function resold({ kind, random, begins, victim }: Scene): Attack {
  const { person } = victim(parameters.attacks.agentKeys);
  const line = Line.of(network4(random, true));
  const client = isAgent((person.machines[0] as Machine).client) ? (person.machines[0] as Machine).client : 'claude-code';
  const rewritten = random.chance(parameters.attacks.resold.rewritten) ? machine(random, client, random.hex(8)) : null;
  const customers = Array.from({ length: parameters.attacks.resold.customers }, () => {
    const each = stranger(person.caller, randomFrom(random), client, random.int(-8, 8), line);
    return rewritten === null ? each : { ...each, machines: [rewritten] };
  });
  return {
    kind, begins, about: aboutOf([person, ...customers]), subjects: [person.caller], touched: [],
    day(from, out) {
      if (from >= begins) for (const each of customers) liveDay(each, from, 1, out);
    },
  };
}

/** A thief: another network and machine, mostly another client. */
function thief(random: Random, { person }: Owner): Person {
  const own = (person.machines[0] as Machine).client;
  const client = random.chance(parameters.attacks.sameClient) ? own : random.pick({ 'openai-python': 0.5, ...parameters.agents });
  const line = random.chance(parameters.attacks.fromHosting) ? Line.of(network4(random, true)) : Line.make(random, false);
  const found = stranger(person.caller, randomFrom(random), client, random.int(-10, 10), line);
  return { ...found, models: [random.of(models), ...found.models] };
}

function burst(person: Person, at: number, seconds: number, aMinute: number, tokens: number, out: Signal[]): void {
  const { random } = person;
  const used = person.machines[0] as Machine;
  for (let time = at; time < at + seconds; time += -Math.log(1 - random.next()) * (60 / aMinute)) {
    const each = Math.round(random.logNormal(tokens, 0.4));
    out.push(signalOf({ time, person, machine: used, network: person.lineAt(time, 0).pick(random), session: null, model: person.models[0] as string, tokens: each, size: each * 3 }));
  }
}

function probe(person: Person, at: number, model: string, out: Signal[]): void {
  out.push(signalOf({ time: at, person, machine: person.machines[0] as Machine, network: person.lineAt(at, 0).pick(person.random), session: null, model, tokens: 20, size: 180 }));
}

function smashed({ kind, random, begins, victim }: Scene): Attack {
  const owner = victim();
  const person = thief(random, owner);
  const at = begins + random.int(1, 22) * hour;
  const { minutes, aMinute, tokens } = parameters.attacks.smashed;
  return {
    kind, begins, about: aboutOf([owner.person, person]), subjects: [owner.person.caller], touched: [],
    day(from, out) {
      if (from !== begins) return;
      probe(person, at, person.models[0] as string, out);
      burst(person, at + 40, minutes * minute, aMinute, tokens, out);
    },
  };
}

function ramped({ kind, random, victim, first }: Scene): Attack {
  const owner = victim();
  const person = thief(random, owner);
  const { first: few, growth, days, before } = parameters.attacks.ramped;
  const begins = first - before * day + random.int(0, 3) * day;
  return {
    kind, begins, about: aboutOf([owner.person, person]), subjects: [owner.person.caller], touched: [],
    day(from, out) {
      const age = Math.round((from - begins) / day);
      if (age < 0 || age >= days) return;
      const sittings = Math.max(1, Math.round((few * growth ** age) / 24));
      for (let each = 0; each < sittings; each++) burst(person, from + person.random.int(0, 23) * hour, 20 * minute, Math.min(20, (few * growth ** age) / sittings / 20), parameters.tokens.agent.median, out);
    },
  };
}

/** Quiet days, one tiny request with a model that the key never used, and a day later millions of tokens. */
function probeFirst({ kind, random, begins, victim }: Scene): Attack {
  const owner = victim();
  const { quietDays, burst: tokens, minutes } = parameters.attacks.probe;
  const person = { ...thief(random, owner), models: [`new-${random.hex(4)}`] };
  const at = begins + day + random.int(2, 20) * hour;
  return {
    kind, begins, about: aboutOf([owner.person, person]), subjects: [owner.person.caller], touched: [],
    isQuiet: (from) => from >= begins - quietDays * day && from <= begins + 2 * day,
    day(from, out) {
      if (from === begins) probe(person, at - day, person.models[0] as string, out);
      if (from === begins + day) burst(person, at, minutes * minute, tokens / minutes / 60_000, 60_000, out);
    },
  };
}

function stuffing({ kind, random, begins }: Scene): Attack {
  const line = network4(random, random.chance(0.5));
  const [low, high] = parameters.attacks.stuffing.tokens;
  const [slow, fast] = parameters.attacks.stuffing.aMinute;
  const nobody: Pick<Person, 'caller' | 'random'> = { caller: { kind: 'token', id: 'none' }, random };
  return {
    kind, begins, about: 'network', subjects: [{ kind: 'network', id: line.network }], touched: [],
    day(from, out) {
      if (from !== begins) return;
      let time = from + random.int(0, 22) * hour;
      const aMinute = random.int(slow, fast);
      for (let token = random.int(low, high); token > 0; token--) {
        const used = { client: 'openai-python', platform: 'linux x64', device: null, home: null, automated: false };
        const asked = signalOf({ time, person: nobody, machine: used, network: line, session: null, model: null, tokens: 0, size: 100, failed: true });
        out.push({ ...asked, caller: null, refusedToken: random.hex(16) });
        time += minute / aMinute;
      }
    },
  };
}

function spraying({ kind, random, begins, world }: Scene): Attack {
  const line = network4(random, random.chance(0.5));
  const [few, many] = parameters.attacks.spraying.keys;
  const [slow, fast] = parameters.attacks.spraying.aMinute;
  const owners = Array.from({ length: random.int(few, many) }, () => random.of(world.owners));
  return {
    kind, begins, about: 'network', subjects: [{ kind: 'network', id: line.network }], touched: owners.map(({ person }) => person.caller),
    day(from, out) {
      if (from !== begins) return;
      let time = from + random.int(0, 22) * hour;
      const aMinute = random.int(slow, fast);
      const used = { client: 'curl', platform: 'linux x64', device: null, home: null, automated: false };
      for (const { person } of owners) {
        out.push(signalOf({ time, person: { caller: person.caller, random }, machine: used, network: line, session: null, model: random.chance(0.5) ? random.of(models) : null, tokens: 15, size: 120 }));
        time += minute / aMinute;
      }
    },
  };
}
