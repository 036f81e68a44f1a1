import { isDeepStrictEqual } from 'node:util';
import type { Journal } from '../../types/journal.d.ts';
import type { Sink, SinkView } from '../../types/sink.d.ts';
import type { Core } from '../request/request.ts';
import { inBackground } from '../platform/platform.ts';
import type { Exposed } from '../telemetry/telemetry.ts';
import { Follower } from './follower.ts';

/** A sink as a configuration wants it. */
export interface WantedSink {
  readonly name: string;
  /** What it is made from: it is made anew when that changes. */
  readonly from: unknown;
  readonly make: () => Sink;
}

interface Followed extends WantedSink {
  /** Null until the one of its name before it has ended. */
  follower: Follower | null;
}

/** All sinks that follow the journal. */
export class Followers {
  readonly #core: Core;
  readonly #journal: Journal;
  #all: readonly Followed[] = [];
  #isStarted = false;
  #isOver = false;
  /** Sinks that a configuration has ended, by name, until they have. */
  readonly #ending = new Map<string, Promise<void>>();

  /** Nothing is delivered before the journal's first commit, or {@link start}. */
  constructor(core: Core, journal: Journal, sinks: readonly WantedSink[]) {
    this.#core = core;
    this.#journal = journal;
    this.#all = sinks.map((sink) => ({ ...sink, follower: new Follower(core, journal, sink.make()) }));
  }

  /** The names of those that follow. */
  get names(): readonly string[] {
    return this.#all.map(({ name }) => name);
  }

  /** Continues with the records that the previous run left. */
  start(): void {
    this.#isStarted = true;
    for (const { follower } of this.#all) follower?.wake();
  }

  /** Takes the sinks of another configuration. One that is made from the same goes on; one that has changed goes on at its cursor. */
  configure(sinks: readonly WantedSink[]): void {
    const before = this.#all;
    this.#all = sinks.map((sink) => before.find(({ name, from }) => name === sink.name && isDeepStrictEqual(from, sink.from)) ?? { ...sink, follower: null });
    for (const each of before) if (!this.#all.includes(each) && each.follower !== null) this.#end(each.name, each.follower);
    this.#begin();
  }

  #end(name: string, follower: Follower): void {
    const ended = follower.close().finally(() => {
      this.#ending.delete(name);
      this.#begin();
    });
    this.#ending.set(name, ended);
    inBackground(this.#core.log, name, ended);
  }

  /** Begins those that have none of their name before them any more. */
  #begin(): void {
    if (this.#isOver) return;
    for (const each of this.#all) {
      if (each.follower !== null || this.#ending.has(each.name)) continue;
      each.follower = new Follower(this.#core, this.#journal, each.make());
      if (this.#isStarted) each.follower.wake();
    }
  }

  /** State and counters of every sink. */
  views(): readonly SinkView[] {
    return this.#all.flatMap(({ follower }) => (follower === null ? [] : [follower.view()]));
  }

  /** Ends the deliveries; called before the journal is closed. */
  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled([...this.#ending.values(), ...this.#all.map(({ follower }) => follower?.close())]);
  }
}

/** The metrics of sinks, read at each scrape. */
export function sinkSeries(views: () => readonly SinkView[]): Exposed[] {
  const of = (value: (view: SinkView) => number) => () => views().map((view) => ({ labels: { sink: view.name }, value: value(view) }));
  return [
    { name: 'audit_sink_lag_records', values: of(({ lag }) => lag) },
    { name: 'audit_sink_delivered_total', values: of(({ delivered }) => delivered) },
    { name: 'audit_sink_refused_total', values: of(({ refused }) => refused) },
    { name: 'audit_sink_errors_total', values: of(({ errors }) => errors) },
  ];
}
