import type { StatementSync } from 'node:sqlite';
import type { Signal, Verdict } from '../../types/detector.d.ts';
import type { FindingEvidence, Place, Sighting } from '../../types/finding.d.ts';
import type { SqlValue } from '../../types/journal.d.ts';
import type { Observer, ObserverHost } from '../../types/observer.d.ts';
import { signalColumns, signalOf } from './signals.ts';
import { Places } from './places.ts';
import { News } from './news.ts';
import { actionOf } from './thresholds.ts';
import { Watch } from './watch.ts';

/** Place of the address, which `forget` erases. */
const addressAt = signalColumns.indexOf('real_ip');
const headersAt = signalColumns.indexOf('request_headers');
/** Records judged in one slice; the thread writes records in between. */
const slice = 500;
/** Delay from the first new record to the slice, milliseconds. */
const delay = 100;
/** Records of the past from which the state is built at a start. */
const pastRecords = 300_000;
/** Sightings about one subject reach the gate at most this often, unless they call for another action, milliseconds: each is a commit. */
const reportEvery = 15_000;
/** How often the position is told, milliseconds. */
const tellEvery = 5000;
/** How often held signals are told of and judged, milliseconds. */
const releaseEvery = 200;
/** Sharing is no emergency: it is slowed at first, with this score, and for so many milliseconds at least. */
const slowedAt = 85;
const slowedFor = 3000;
const mostRecords = 20;
/** Subjects with evidence that is not reported yet. */
const mostPending = 2000;

/** What the observer tells the gate. */
export type FromObserver = { readonly kind: 'news'; readonly signals: readonly Signal[] } | { readonly kind: 'sighting'; readonly sighting: Sighting } | { readonly kind: 'position'; readonly record: number; readonly callers: number } | { readonly kind: 'mmdb'; readonly problem: string | null };

/** What the gate hands to the observer. */
export interface ObserverOptions {
  /** Path of a file in MaxMind's format. */
  readonly mmdb: string | null;
}

/** What the gate asks: where addresses are. The answer holds those that the file knows. */
export interface PlacesOf {
  readonly addresses: readonly string[];
}

interface Pending {
  /** Networks of the evidence, the latest last, with a file that says where they are. */
  places: Map<string, Place>;
  records: string[];
  requests: number;
  best: Verdict;
  since: number;
  last: number;
  reportedAt: number;
  reportedScore: number;
}

/** Judges every record of the journal once, and reports what it sees. */
export function observe(host: ObserverHost): Observer {
  return new JournalWatch(host);
}

class JournalWatch implements Observer {
  readonly #host: ObserverHost;
  readonly #select: StatementSync;
  readonly #erasures: StatementSync;
  /** The last erasure that the state knows. */
  #erasure: number;
  #watch = new Watch();
  readonly #places: Places | null;
  readonly #pending = new Map<string, Pending>();
  #position: number;
  /** Null where other instances are not heard. */
  readonly #news: News | null;
  #release: NodeJS.Timeout | null = null;
  /** Records up to this position were judged by an earlier run. */
  #judged: number;
  #timer: NodeJS.Timeout | null = null;
  /** The timer is that of new records. */
  #isSoon = false;
  #told = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(host: ObserverHost) {
    this.#host = host;
    const { mmdb } = host.options as ObserverOptions;
    this.#places = mmdb === null ? null : new Places(mmdb, (problem) => host.send({ kind: 'mmdb', problem } satisfies FromObserver));
    this.#news = host.shares ? new News((signals) => host.send({ kind: 'news', signals } satisfies FromObserver)) : null;
    this.#select = host.db.prepare(`SELECT id, source, ${signalColumns.join(', ')} FROM heimdall_logs WHERE id > ? ORDER BY id LIMIT ${slice}`);
    this.#select.setReturnArrays(true);
    this.#erasures = host.db.prepare('SELECT coalesce(max(erasure), 0) AS last FROM heimdall_erasures');
    this.#erasure = (this.#erasures.get() as { last: number }).last;
    const { last } = host.db.prepare('SELECT coalesce(max(id), 0) AS last FROM heimdall_logs').get() as { last: number };
    const cursor = host.db.prepare("SELECT record FROM heimdall_cursors WHERE sink = 'watch'").get() as { record: number } | undefined;
    this.#judged = cursor?.record ?? last;
    this.#position = Math.max(0, last - pastRecords);
    this.wake();
  }

  readonly #placeOf = (address: string): Place | null => this.#places?.of(address, performance.now()) ?? null;

  answer(question: unknown): unknown {
    return (question as PlacesOf).addresses.flatMap((address) => {
      const place = this.#placeOf(address);
      return place === null ? [] : [[address, place] as const];
    });
  }

  wake(): void {
    if (this.#isSoon) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#isSoon = true;
    this.#timer = setTimeout(() => this.#tryRead(), delay).unref();
  }

  forgotten(): void {
    this.#erasure = (this.#erasures.get() as { last: number }).last;
    this.#restart();
    this.wake();
  }

  /** Judges the past anew, without a report. */
  #restart(): void {
    this.#watch = new Watch();
    this.#news?.clear();
    this.#pending.clear();
    this.#judged = Math.max(this.#judged, this.#position);
    this.#position = Math.max(0, this.#position - pastRecords);
  }

  close(): void {
    if (this.#release !== null) clearTimeout(this.#release);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#release = null;
  }

  #tryRead(): void {
    try {
      this.#read();
    } catch (error) {
      this.close();
      this.#host.failed(error);
    }
  }

  #read(): void {
    this.#timer = null;
    this.#isSoon = false;
    this.#noticeErasures();
    const rows = this.#select.all(this.#position) as unknown as (readonly SqlValue[])[];
    for (const [id, source, ...row] of rows) {
      this.#position = id as number;
      // A record of elsewhere, or one that was erased.
      if (source !== 'gate' || row.at(addressAt) === '') continue;
      row[headersAt] = this.#host.headersOf(row[headersAt]);
      const signal = signalOf(row, this.#placeOf);
      const reports = this.#position > this.#judged && this.#host.leads();
      if (reports && this.#news !== null) this.#news.own(signal, performance.now());
      else this.#judge(signal, reports);
    }
    this.#await();
    this.#report();
    if (rows.length === slice) this.#timer = setTimeout(() => this.#tryRead(), 1).unref();
    this.#tell();
  }

  /** Another process may have erased records. */
  #noticeErasures(): void {
    const { last } = this.#erasures.get() as { last: number };
    if (last === this.#erasure) return;
    this.#erasure = last;
    this.#restart();
  }

  #judge(signal: Signal, reports: boolean): void {
    const verdicts = this.#watch.observe(signal);
    if (reports) for (const verdict of verdicts) this.#note(verdict, signal);
  }

  hear(value: unknown): void {
    if (this.#news === null) return;
    this.#news.foreign(value as readonly Signal[], performance.now());
    this.#await();
  }

  /** Judges held signals when their time has come. What is seen on a signal of another instance is reported there. */
  #await(): void {
    const news = this.#news;
    if (news === null || news.waiting === 0) return;
    this.#release ??= setTimeout(() => {
      this.#release = null;
      try {
        for (const { signal, isOwn } of news.release(performance.now())) this.#judge(signal, isOwn);
        this.#report();
        this.#await();
      } catch (error) {
        this.close();
        this.#host.failed(error);
      }
    }, releaseEvery).unref();
  }

  /** Tells the position now and then: after a crash the last seconds are judged again. */
  #tell(): void {
    if (this.#position <= this.#told) return;
    const wait = this.#toldAt + tellEvery - performance.now();
    if (wait > 0) {
      this.#timer ??= setTimeout(() => this.#tryRead(), wait).unref();
      return;
    }
    this.#told = this.#position;
    this.#toldAt = performance.now();
    this.#host.send({ kind: 'position', record: Math.max(this.#position, this.#judged), callers: this.#watch.callers } satisfies FromObserver);
  }

  #note(verdict: Verdict, { requestId, time, network }: Signal): void {
    const key = `${verdict.rule} ${verdict.subject.kind} ${verdict.subject.id}`;
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      if (this.#pending.size >= mostPending) this.#pending.delete(this.#pending.keys().next().value as string);
      pending = { places: new Map(), records: [], requests: 0, best: verdict, since: time, last: time, reportedAt: Number.NEGATIVE_INFINITY, reportedScore: 0 };
      this.#pending.set(key, pending);
    }
    pending.requests++;
    pending.last = time;
    pending.records.push(requestId);
    if (pending.records.length > mostRecords) pending.records.shift();
    this.#notePlace(pending, network);
    if (verdict.score >= pending.best.score) pending.best = verdict;
  }

  #notePlace({ places }: Pending, network: string): void {
    const place = this.#placeOf(network.slice(0, network.indexOf('/')));
    if (place === null) return;
    places.delete(network);
    places.set(network, place);
    if (places.size > mostRecords) places.delete(places.keys().next().value as string);
  }

  #evidenceOf({ best, last, records, requests, places }: Pending): FindingEvidence {
    const evidence = this.#watch.evidenceOf(best, last, records, requests);
    return places.size === 0 ? evidence : { ...evidence, places: [...places].map(([network, place]) => ({ network, ...place })) };
  }

  #report(): void {
    const now = performance.now();
    let waiting = false;
    for (const [key, pending] of this.#pending) {
      if (pending.requests === 0) {
        if (now - pending.reportedAt > 60_000) this.#pending.delete(key);
        continue;
      }
      const { rule, subject, reason, most, baseline } = pending.best;
      const isSharing = rule === 'shared_key';
      const score = isSharing && pending.reportedScore < slowedAt ? Math.min(pending.best.score, slowedAt) : pending.best.score;
      const grew = actionOf(score) !== actionOf(pending.reportedScore);
      if (now - pending.reportedAt < (!grew ? reportEvery : isSharing && actionOf(pending.reportedScore) === 'slow' ? slowedFor : 0)) {
        waiting = true;
        continue;
      }
      this.#host.send({
        kind: 'sighting',
        sighting: {
          rule, subject, score, reason, most, baseline, since: pending.since, last: pending.last,
          evidence: this.#evidenceOf(pending),
        },
      } satisfies FromObserver);
      pending.reportedAt = now;
      pending.reportedScore = Math.max(pending.reportedScore, score);
      pending.records = [];
      pending.requests = 0;
      pending.since = pending.last;
    }
    if (waiting && this.#timer === null) this.#timer = setTimeout(() => this.#tryRead(), slowedFor).unref();
  }
}

