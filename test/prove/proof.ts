/** What a proof found. */
export interface Finding {
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  /** What must be true, in one sentence. */
  readonly bar: string;
  readonly holds: boolean;
}

export type Proof = () => Promise<Finding>;
