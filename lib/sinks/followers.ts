import type { Journal } from '../../types/journal.d.ts';
import type { Sink, SinkView } from '../../types/sink.d.ts';
import type { Core } from '../request/request.ts';
import type { Exposed } from '../telemetry/telemetry.ts';
import { Follower } from './follower.ts';

/** All sinks that follow the journal. */
export class Followers {
  readonly #all: readonly Follower[];

  /** Nothing is delivered before the journal's first commit, or {@link start}. */
  constructor(core: Core, journal: Journal, sinks: readonly Sink[]) {
    this.#all = sinks.map((sink) => new Follower(core, journal, sink));
  }

  /** Continues with the records that the previous run left. */
  start(): void {
    for (const follower of this.#all) follower.wake();
  }

  /** State and counters of every sink. */
  views(): readonly SinkView[] {
    return this.#all.map((follower) => follower.view());
  }

  /** Ends the deliveries; called before the journal is closed. */
  async close(): Promise<void> {
    await Promise.all(this.#all.map((follower) => follower.close()));
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
