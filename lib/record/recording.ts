import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { InterruptedRequest } from '../../types/queue.d.ts';
import type { NewRecord } from '../../types/record.d.ts';
import type { Sink, SinkView } from '../../types/sink.d.ts';
import type { Context } from '../request/context.ts';
import type { Core, Finisher, Tap } from '../request/core.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { Followers, sinkSeries } from '../sinks/followers.ts';
import { ingestion, type Ingestion } from './ingest.ts';
import { WorkerJournal } from '../journal/journal.ts';
import { RawTokens } from '../sinks/raw-tokens.ts';
import { recorder } from './record.ts';
import { journalSeries } from '../journal/series.ts';
import { sinksOf } from '../sinks/sinks.ts';
import type { JournalDeps } from '../journal/thread.ts';

/** What a recording needs of the gate. */
export interface RecordingDeps extends Omit<JournalDeps, 'sinks'> {
  readonly identify: (credential: string) => TokenIdentity;
  /** Requests that were in hand when the process before this one ended, as far as the queue had saved them. */
  readonly interrupted: () => readonly InterruptedRequest[];
  /** Sinks a program brought. */
  readonly sinks: readonly Sink[];
}

/** What a gate needs to record its requests. */
export interface Recording {
  readonly journal: Journal;
  /** Model routes must not be served now: their requests could not be recorded. */
  readonly isRefusing: () => boolean;
  readonly record: Finisher;
  readonly tap: (context: Context) => Tap | null;
  /** Puts the commit of the intent before a forwarding, where `audit.durability` asks for it. */
  readonly admit: (forward: (context: Context) => void) => (context: Context) => void;
  /** Takes records that others hand in. */
  readonly ingestion: Ingestion;
  /** What follows the journal, in numbers. */
  readonly sinks: () => readonly SinkView[];
  /** Opens the journal, and what follows it goes on where it was left. */
  start(): void;
  /** The sinks end before the journal they follow. */
  close(): Promise<void>;
}

/** The journal, what feeds it and what follows it. Without the part `logging` no request is recorded. */
export function recording(core: Core, metrics: Metrics, deps: RecordingDeps): Recording {
  const { audit, middleware } = core.config;
  const raw = audit.newapi.enabled && audit.newapi.token === 'raw' ? new RawTokens() : null;
  const sinks = sinksOf({ core, rawToken: raw && ((tokenId) => raw.of(tokenId)) }, deps.sinks);
  const journal = new WorkerJournal(core, { ...deps, sinks: sinks.map(({ name }) => name) });
  const followers = new Followers(core, journal, sinks);
  const taking = ingestion(core, journal, deps.identify);
  metrics.expose([...journalSeries(journal), ...sinkSeries(() => followers.views())]);
  const { record, tap, admit } = recorder(core, journal, deps.accessLog.isRead);
  const isOn = middleware === null || middleware.includes('logging');
  let begun: Promise<void> | null = null;
  const begin = async (): Promise<void> => {
    await journal.open();
    const lost = isOn ? deps.interrupted() : [];
    if (lost.length > 0) await journal.append(lost.map(recordOfLost));
  };
  return {
    journal,
    isRefusing: () => isOn && journal.refusing,
    record: raw === null ? record : (context) => {
      raw.hear(context);
      record(context);
    },
    tap: isOn ? tap : () => null,
    admit: isOn ? admit : (forward) => forward,
    ingestion: taking,
    sinks: () => followers.views(),
    start() {
      begun ??= begin().catch(() => undefined);
      followers.start();
    },
    async close() {
      taking.close();
      await followers.close();
      raw?.clear();
      await journal.close();
    },
  };
}

/** All that is known of it; one that has a record already, as every one has with `strict`, keeps that. */
function recordOfLost({ id, time, lane }: InterruptedRequest): NewRecord {
  const [, kind = '', value = ''] = /^(key|token|address):(.*)$/s.exec(lane) ?? [];
  return {
    request_id: id, time, request_method: '', request_path: '', real_ip: kind === 'address' ? value : '', response_status: 0, response_time: 0, source: 'gate', outcome: 'interrupted', device_fingerprint: '',
    key_id: kind === 'key' ? value : null, token_id: kind === 'token' ? value : null,
  };
}
