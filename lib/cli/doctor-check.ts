/** What one check found. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly text: string;
  /** What mends it. */
  readonly fix?: string;
}

/** A check of the doctor. Its name stands for it when it does not end in time. */
export interface Check {
  readonly name: string;
  /** @param signal aborts when the time is over. */
  run(signal: AbortSignal): Promise<readonly Finding[]> | readonly Finding[];
}

/** A finding that is well. */
export const ok = (name: string, text: string): Finding => ({ name, state: 'ok', text });
/** A finding that stops no request yet. */
export const warn = (name: string, text: string, fix: string): Finding => ({ name, state: 'warn', text, fix });
/** A finding that breaks something. */
export const fail = (name: string, text: string, fix: string): Finding => ({ name, state: 'fail', text, fix });
