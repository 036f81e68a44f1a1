import type { DatabaseSync } from 'node:sqlite';

/** What an observer in the journal's thread works with. */
export interface ObserverHost {
  readonly db: DatabaseSync;
  /** The headers of a record, of what `request_headers` of its row has. */
  headersOf(kept: unknown): string | null;
  /** Of the processes that share the journal, this one reports what the observer sees. */
  readonly leads: () => boolean;
  /** Values of other instances are heard, and the observer may tell them of its own. */
  readonly shares: boolean;
  /** What the gate hands to the observer. */
  readonly options: unknown;
  /** Sends a value to the gate. */
  send(value: unknown): void;
  /** Says that the observer cannot go on. */
  failed(error: unknown): void;
}

/** Follows the journal in the journal's own thread. Its failures end it alone. */
export interface Observer {
  /** New records may be there. */
  wake(): void;
  /** Takes what the gate has heard of other instances. */
  hear(value: unknown): void;
  /** Answers a question of the gate. */
  answer(question: unknown): unknown;
  /** Records were erased: nothing that was learnt from them may remain. */
  forgotten(): void;
  close(): void;
}

/** The one export of an observer's module. */
export interface ObserverModule {
  observe(host: ObserverHost): Observer;
}
