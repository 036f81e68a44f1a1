import type { Finding } from './finding.d.ts';
import type { JournalSearch, Position, SearchFound, SqlRow, SqlValue } from './journal.d.ts';
import type { AuditRecord } from './record.d.ts';

/** A SELECT with the values of its parameters, each a `?` in the text. */
export interface Query {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** What differs between the databases that records are read from. */
export interface Dialect {
  /** A condition for texts that begin with another one, so that an index can be used. */
  begins(column: string, start: string): Query;
  /** A condition for records of which a fact is known. */
  learnt(name: 'username' | 'token_name', value: string): Query;
  /** The condition for records that pass another one, by an index that has what it asks for. */
  among(condition: string): string;
  /** The order of records, the latest first. */
  readonly newest: string;
  /** What stands before the names of the tables of sums. */
  readonly sums: string;
  /** A condition that bounds a question which would read all records. */
  readonly recent: Query;
}

/** A question about many records at once. */
export type Question = (dialect: Dialect) => Query;

/** Positions of records in a journal, the first not among them. */
export interface Between {
  readonly after: number;
  readonly last: number;
}

/** A finding that an instance has written for all to read. */
export interface FoundElsewhere {
  readonly instance: string;
  readonly finding: Finding;
}

/**
 * Reads records and their sums: from the journal of one gate, or from the PostgreSQL that all instances write. Filters, groups and
 * answers are the same; lists go on behind a position, and nothing is counted for them. What cannot be read at the moment is a
 * HeimdallError with the code `records_unavailable`.
 */
export interface RecordReader<P extends Position = Position> {
  /** Whose records these are: those of this gate's journal, or those of all instances. */
  readonly instances: 'this' | 'all';
  /** Reads a position as a caller gives it back; null for anything else. */
  position(text: string): P | null;
  /** The position behind a record that a page has listed. */
  positionOf(record: AuditRecord): P;
  /** The position of the latest record. */
  latest(): Promise<P>;
  /** A page of records, or those whose bodies hold a text, until the time is over. */
  search(asked: JournalSearch<P>): Promise<SearchFound<P>>;
  /** One record with its content; null for an unknown id. */
  request(id: string): Promise<AuditRecord | null>;
  ask(question: Question): Promise<readonly SqlRow[]>;
  /** The latest of the records of a time, where there are too many of them for one question; null: all can be asked. */
  bounded(wanted: Readonly<Record<string, string>>, now: number): Promise<Between | null>;
  /** The latest model requests of a caller, without what says something of devices, addresses and bodies. */
  requestsOf(caller: { readonly kind: string; readonly id: string }, limit: number): Promise<readonly SqlRow[]>;
  /** What other instances have found as well, about one caller or about all, the newest first; nothing in a journal. */
  findings(about?: { readonly kind: string; readonly id: string }): Promise<readonly FoundElsewhere[]>;
  /** A finding of another instance by its id; null in a journal. */
  finding(id: string): Promise<FoundElsewhere | null>;
  /** Brings the sums up to what is written. */
  sum(): Promise<void>;
}
