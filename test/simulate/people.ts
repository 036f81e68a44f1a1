import type { Signal, Subject } from '../../types/detector.d.ts';
import { parameters } from './parameters.ts';
import type { Random } from './random.ts';

export type Kind = keyof typeof parameters.population;

/** Seconds. */
const hour = 3600;
const day = 24 * hour;

/** The simulated Monday on which counting begins, Unix seconds. */
export const start = Date.UTC(2026, 0, 5) / 1000;

/** A client network, with the wider one around it. */
export interface Network {
  readonly network: string;
  readonly near: string;
}

export function network4(random: Random, hosting = false, wide = random.int(0, 40_000)): Network {
  const first = hosting ? 200 : 20 + (wide >> 8);
  return { network: `${first}.${wide & 255}.${random.int(0, 255)}.0/24`, near: `${first}.${wide & 255}.0.0/16` };
}

export function network6(random: Random, wide = random.int(0, 4000)): Network {
  const near = `2a${(wide >> 8).toString(16).padStart(2, '0')}:${(wide & 255).toString(16)}`;
  return { network: `${near}:${random.hex(4)}:${random.hex(2)}00::/56`, near: `${near}::/32` };
}

/** An access line: IPv4, perhaps IPv6 beside it. */
export class Line {
  #v4: Network;
  #v6: Network | null;

  private constructor(v4: Network, v6: Network | null) {
    this.#v4 = v4;
    this.#v6 = v6;
  }

  static make(random: Random, dual = random.chance(parameters.dualStack)): Line {
    return new Line(network4(random), dual ? network6(random) : null);
  }

  static of(v4: Network): Line {
    return new Line(v4, null);
  }

  renumber(random: Random, wide: number): void {
    this.#v4 = network4(random, false, wide);
    if (this.#v6 !== null) this.#v6 = network6(random, Number.parseInt(this.#v6.near.slice(2, 4), 16) * 256 + Number.parseInt(this.#v6.near.slice(5), 16));
  }

  pick(random: Random): Network {
    return this.#v6 === null || random.chance(parameters.overIpv4) ? this.#v4 : this.#v6;
  }
}

/** A machine, or a job, from which somebody calls. */
export interface Machine {
  readonly client: string;
  readonly platform: string;
  readonly device: string | null;
  readonly home: string | null;
  readonly automated: boolean;
}

const agents = Object.keys(parameters.agents);
const withDevice = new Set(['claude-code', 'codex']);
const withSession = new Set(['claude-code', 'codex', 'opencode']);

export function machine(random: Random, client: string, home: string, platform: string = random.pick(parameters.platforms)): Machine {
  return { client, platform, device: withDevice.has(client) ? random.hex(16) : null, home: agents.includes(client) ? home : null, automated: false };
}

export const isAgent = (client: string): boolean => agents.includes(client);

/** Somebody who works with a key. */
export interface Person {
  readonly caller: Subject;
  readonly random: Random;
  /** Hours by which this person's day is later. */
  readonly zone: number;
  /** Mean number of sittings a day. */
  readonly sittings: number;
  machines: Machine[];
  /** The line at a moment; a sitting asks again for every request. */
  lineAt(second: number, sitting: number): Line;
  models: string[];
  /** Called at the beginning of each day. */
  morning?(): void;
  readonly service: boolean;
}

export interface Call {
  readonly time: number;
  readonly person: Pick<Person, 'caller' | 'random'>;
  readonly machine: Machine;
  readonly network: Network;
  readonly session: string | null;
  readonly model: string | null;
  readonly tokens: number;
  readonly size: number;
  readonly country?: string;
  readonly failed?: boolean;
  readonly content?: string;
}

/** The signal that a request leaves. */
export function signalOf({ time, person, machine: { client, platform, device, home, automated }, network: { network, near }, session, model, tokens, size, country, failed, content }: Call): Signal {
  return {
    requestId: person.random.hex(12), time: Math.round(time * 1000), duration: 3000, caller: person.caller, refusedToken: null, network, near, country: country ?? 'DE',
    client, platform, device, home, endUser: false, automated, forged: false, session, model, route: '/v1/chat/completions', path: '/v1/chat/completions', failed: failed ?? false, tokens,
    cost: (tokens / 1e6) * (isAgent(client) ? parameters.price.agent : parameters.price.chat), size, content: content ?? person.random.hex(12),
  };
}

/** One sitting of a person at a machine. @returns its end. */
export function sit(person: Person, at: number, used: Machine, sitting: number, out: Signal[], most = Number.POSITIVE_INFINITY): number {
  const { random } = person;
  const agent = isAgent(used.client);
  const session = withSession.has(used.client) ? random.hex(12) : null;
  const turns = Math.min(most, random.geometric(agent ? parameters.turns.agent : parameters.turns.chat));
  const abroad = random.chance(parameters.tunnelAbroad / 3) ? 'SE' : undefined;
  let time = at;
  let content = random.hex(12);
  for (let turn = 0; turn < turns; turn++) {
    const requests = agent ? random.geometric(parameters.requestsATurn) : 1;
    for (let request = 0; request < requests; request++) {
      if (!random.chance(parameters.repeats)) content = random.hex(12);
      const { median, sigma } = agent ? parameters.tokens.agent : parameters.tokens.chat;
      const tokens = Math.round(random.logNormal(median, sigma));
      out.push(signalOf({
        time, person, machine: used, network: person.lineAt(time, sitting).pick(random), session, model: random.chance(0.85) ? (person.models[0] as string) : random.of(person.models),
        tokens, size: tokens * 3, content, failed: random.chance(parameters.failures), ...(abroad === undefined ? {} : { country: abroad }),
      }));
      time += random.logNormal(parameters.gap.request.median, parameters.gap.request.sigma);
    }
    time += random.logNormal(parameters.gap.turn.median, parameters.gap.turn.sigma);
  }
  return time;
}

/** Second of the day at which a person may sit down: two humps, at 10 and at 15 o'clock, some in the evening. */
export function sittingTime(random: Random): number {
  const at = random.chance(0.2) ? 20 + random.normal() * 1.5 : (random.chance(0.5) ? 10 : 15) + random.normal() * 1.6;
  return ((at + 24) % 24) * hour;
}

/** A person's requests of one day. @param from Unix seconds of midnight UTC. */
export function liveDay(person: Person, from: number, factor: number, out: Signal[]): void {
  const { random } = person;
  person.morning?.();
  const weekday = new Date(from * 1000).getUTCDay();
  const isWorkday = weekday !== 0 && weekday !== 6;
  if (!person.service && !random.chance((isWorkday ? parameters.activeWorkday : parameters.activeWeekend) * Math.min(1, factor))) return;
  const sittings = person.service ? 0 : random.poisson(person.sittings * factor);
  // One person sits at one machine at a time.
  let free = 0;
  const times = Array.from({ length: sittings }, () => from + sittingTime(random) + person.zone * hour).sort((one, other) => one - other);
  for (const [sitting, time] of times.entries()) free = sit(person, Math.max(time, free + parameters.pause), random.of(person.machines), Math.floor(from / day) * 100 + sitting, out);
  if (person.service) serveDay(person, from, factor, out);
  if (random.chance(parameters.nightJob)) runBatch(person, from + random.int(1, 4) * hour, random.int(200, 800), out);
  if (random.chance(parameters.brokenScript)) fail(person, from + sittingTime(random), random.int(40, 110), out);
  if (random.chance(parameters.mistypedKey)) mistype(person, from + sittingTime(random), out);
}

function serveDay(person: Person, from: number, factor: number, out: Signal[]): void {
  const { random } = person;
  const aMinute = person.sittings * factor;
  for (let time = from; time < from + day; time += -Math.log(1 - random.next()) * (60 / aMinute)) {
    const used = random.of(person.machines);
    const tokens = Math.round(random.logNormal(parameters.tokens.chat.median, parameters.tokens.chat.sigma));
    out.push(signalOf({ time, person, machine: used, network: person.lineAt(time, 0).pick(random), session: null, model: person.models[0] as string, tokens, size: tokens * 3 }));
  }
}

function runBatch(person: Person, at: number, requests: number, out: Signal[]): void {
  const { random } = person;
  const used = random.of(person.machines);
  let time = at;
  for (let request = 0; request < requests; request++) {
    const tokens = Math.round(random.logNormal(parameters.tokens.chat.median, 0.5));
    out.push(signalOf({ time, person, machine: used, network: person.lineAt(time, 0).pick(random), session: null, model: person.models[0] as string, tokens, size: tokens * 3 }));
    time += random.logNormal(6, 0.5);
  }
}

function fail(person: Person, at: number, requests: number, out: Signal[]): void {
  const { random } = person;
  const used = random.of(person.machines);
  for (let request = 0; request < requests; request++) {
    out.push(signalOf({ time: at + request * 3, person, machine: used, network: person.lineAt(at, 0).pick(random), session: null, model: person.models[0] as string, tokens: 0, size: 2000, failed: true }));
  }
}

function mistype(person: Person, at: number, out: Signal[]): void {
  const { random } = person;
  const token = random.hex(16);
  for (let attempt = random.int(1, 4); attempt > 0; attempt--) {
    const asked = signalOf({ time: at - attempt * 20, person, machine: random.of(person.machines), network: person.lineAt(at, 0).pick(random), session: null, model: null, tokens: 0, size: 2000, failed: true });
    out.push({ ...asked, caller: null, refusedToken: token });
  }
}
