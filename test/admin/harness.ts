import '../support/node.ts';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import express, { type Express } from 'express';
import { adminOf, Jobs, type Admin } from '../../lib/admin/admin.ts';
import type { Findings } from '../../lib/anomaly/anomaly.ts';
import { Hub } from '../../lib/admin/hub.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import { tee } from '../../lib/telemetry/events.ts';
import { HeimdallError } from '../../lib/errors.ts';
import type { Clock, ConfigInput } from '../../lib/index.ts';
import { InFlight, Mount, Probes } from '../../lib/request/request.ts';
import type { JournalStats } from '../../types/journal.d.ts';
import type { QueueControl } from '../../types/queue.d.ts';
import type { Ban, KeyView, Registry } from '../../types/registry.d.ts';
import type { SinkView } from '../../types/sink.d.ts';
import type { TargetStatus } from '../../types/target.d.ts';
import { request, type Answer, type RequestOptions, type TestLike } from '../support/client.ts';
import { fakeClock, realClock } from '../support/clock.ts';
import { fakeJournal } from '../support/fake-journal.ts';
import { recorder, type Recorder } from '../support/gate.ts';

export const token = 'an-admin-token-of-more-than-32-characters';
export const bearer = { Authorization: `Bearer ${token}` };

/** A registry and a queue that live in memory, and what was asked of them. */
export interface Fakes {
  readonly registry: Registry;
  readonly queue: QueueControl;
  readonly keys: Map<string, KeyView>;
  readonly asked: unknown[];
  targets: TargetStatus[];
  journal: JournalStats;
  sinks: SinkView[];
  certificates: { readonly path: string; readonly ends: number; readonly isEnding: boolean }[];
}

/** The API below `/ops` of an application, without a gate around it. */
export interface AdminHarness extends Fakes {
  readonly core: Core;
  readonly log: Recorder;
  readonly hub: Hub;
  readonly admin: Admin;
  readonly url: string;
  /** Asks with the token, unless headers are given. */
  ask(path: string, options?: RequestOptions): Promise<Answer>;
}

export const aKey: KeyView = {
  name: 'alice', source: 'registry', digest: '0123456789ab', created: Date.UTC(2026, 0, 1), expires: null, disabled: false, models: ['gpt-4o'], cidrs: [],
  hasUpstreamCredential: false, previousUntil: null, honey: false, requests: { limit: 5, window: 90_000 }, tokens: null, concurrency: 2, budget: null,
};

export const aTarget: TargetStatus = { name: 'newapi', provider: 'newapi', credential: 'caller', host: '127.0.0.1:3000', weight: 1, inHand: 0, state: 'up', until: null, by: null, lastProbe: null, models: [] };

function fakes(clock: Clock): Fakes {
  const keys = new Map([['alice', aKey], ['fixed', { ...aKey, name: 'fixed', source: 'config' as const, created: null }]]);
  const bans = new Map<string, Ban>();
  const asked: unknown[] = [];
  let concurrency = 10;
  const known = (name: string): KeyView => {
    const view = keys.get(name);
    if (view === undefined) throw new HeimdallError('not_found');
    return view;
  };
  const put = (view: KeyView): KeyView => (keys.set(view.name, view), view);
  const registry: Registry = {
    keys: () => [...keys.values()],
    createKey: async (input) => (asked.push(input), { key: 'sk-a-new-key', view: put({ ...aKey, name: input.name, expires: input.expires ?? null, hasUpstreamCredential: input.upstreamCredential != null }) }),
    rotateKey: async (name, overlap) => ({ key: 'sk-a-rotated-key', view: put({ ...known(name), previousUntil: clock.now() + overlap }) }),
    changeKey: async (name, change) => put({ ...known(name), ...change }),
    removeKey: async (name) => void keys.delete(known(name).name),
    bans: () => [...bans.values()],
    async ban(input) {
      asked.push(input);
      const made: Ban = { id: `b${bans.size + 1}`, kind: input.kind ?? 'address', value: input.value, reason: input.reason ?? '', created: clock.now(), expires: input.expires ?? null };
      bans.set(made.id, made);
      return made;
    },
    async unban(which) {
      const found = [...bans.values()].filter(({ id, value }) => id === which || value === which);
      for (const { id } of found) bans.delete(id);
      return found.length;
    },
  };
  const queue: QueueControl = {
    view: () => ({ enabled: true, concurrency, active: 1, places: 4, waiting: 2, lanes: 2, serviceTime: 12.5, websockets: { active: 0, limit: 7 } }),
    resize: (to) => void (concurrency = to),
  };
  return { registry, queue, keys, asked, targets: [aTarget], journal: fakeJournal().stats(), sinks: [], certificates: [] };
}

export interface DeskOptions {
  readonly clock?: Clock;
  /** What the application does before the API. */
  readonly before?: (app: Express) => void;
  /** In place of the registry's own. */
  readonly registry?: Partial<Registry>;
  readonly queue?: Partial<QueueControl>;
  /** NewAPI's answers. */
  readonly newapi?: (path: string, headers: readonly string[]) => Promise<{ readonly status: number; readonly body: unknown }>;
}

export async function startAdmin(t: TestContext, config: ConfigInput = {}, { clock = fakeClock(), before, registry, queue, newapi }: DeskOptions = {}): Promise<AdminHarness> {
  const log = recorder();
  const hub = new Hub(clock.now());
  const resolved = resolveConfig({ ...config, admin: { token, ...config.admin } });
  const core = {
    config: resolved, log: tee(log, hub.listeners(clock.now, resolved), (fields) => fields), clock, observe: false, draining: false, closed: false,
    inFlight: new InFlight(resolved, clock),
    connections: null, crew: null, mount: new Mount(), alternative: null, probes: new Probes(), guesses: new Map(), hidden: [], heads: { every: [], own: [], proxied: [] }, finishers: [],
  } as Core;
  hub.enter(core);
  const made = fakes(clock);
  Object.assign(made.registry, registry);
  Object.assign(made.queue, queue);
  const findings = { list: () => [], get: () => { throw new HeimdallError('not_found'); } } as unknown as Findings;
  const admin = adminOf({ jobs: new Jobs(), work: { work: async () => { throw new Error('none'); }, forget: async () => 0 }, nameOf: () => null, named: () => [], newapi: { get: newapi ?? (async () => ({ status: 404, body: null })) }, certificates: () => made.certificates, callers: { find: async () => null, limits: async () => [], limitsOf: async () => [] }, findings, watch: () => ({ callers: 0, lag: 0 }), core, hub, reload: async () => ({ changed: [], restart: [] }), registry: { ready: async () => undefined, problem: null, ownersOf: async () => [], ...made.registry }, queue: made.queue, targets: () => made.targets, resources: { usage: () => [] }, routes: { shown: () => [] }, journal: () => made.journal, sinks: () => made.sinks, identify: () => ({ id: 'f'.repeat(16), mask: 'sk-…ters', former: [] }), logs: { placesOf: async () => new Map(), query: async () => [] }, records: { instances: 'this', position: () => null, positionOf: ({ id }) => id, latest: async () => 0, search: async () => ({ records: [], next: null, stopped: false }), request: async () => null, ask: async () => [], requestsOf: async () => [], findings: async () => [], finding: async () => null, bounded: async () => null, sum: async () => undefined } });
  const app = express();
  before?.(app);
  app.use('/ops', admin.router);
  app.use((_req, res) => void res.status(404).send('the host\'s 404'));
  const url = await listening(t, createServer(app));
  const ask: AdminHarness['ask'] = (path, options = {}) => request(`${url}/ops/api/${path}`, { headers: bearer, ...options });
  return Object.assign(made, { core, log, hub, admin, url, ask });
}

/** Listens on a free port until the test is over. */
export async function listening(t: TestLike, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export { realClock };

/** Status, code and field of an error. */
export function problem(answer: Answer): [number, string, string | null] {
  const { error } = answer.json<{ error: { code: string; param: string | null } }>();
  return [answer.status, error.code, error.param];
}

/** The text of an error. */
export const messageOf = (answer: Answer): string => answer.json<{ error: { message: string } }>().error.message;
