/** The trace that a request belongs to (W3C Trace Context, level 1). */
export interface Trace {
  /** 32 hex digits. */
  readonly id: string;
  /** The span of the request, 16 hex digits. */
  readonly span: string;
  /** The caller's span; null where the trace begins here. */
  readonly parent: string | null;
  /** The span is exported, and so are those below it. */
  readonly sampled: boolean;
}

/** Version 00 is as long as this; later versions may go on behind a dash (§4.3). */
const form = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-|$)/;

/**
 * The trace of a request. The caller's where it names one; otherwise one made of the request's own id, so that the main thread and
 * whatever reads the record later find the same ids with nothing kept.
 * @param id the request's UUIDv7.
 * @param header the request's `traceparent`; several ones name no trace.
 * @param share of the traces made here that are sampled, 0 to 1.
 */
export function traceOf(id: string, header: unknown, share: number): Trace {
  // Of the time its low digits, the counter, and most of what is random.
  const span = id.slice(9, 13) + id.slice(15, 18) + id.slice(27);
  const found = typeof header === 'string' ? form.exec(header) : null;
  if (found !== null && (found[1] !== '00' || found[5] === '')) {
    return { id: found[2] as string, span, parent: found[3] as string, sampled: (Number.parseInt(found[4] as string, 16) & 1) === 1 };
  }
  const own = id.slice(0, 8) + id.slice(9, 13) + id.slice(14, 18) + id.slice(19, 23) + id.slice(24);
  return { id: own, span, parent: null, sampled: Number.parseInt(id.slice(-8), 16) < share * 0x1_0000_0000 };
}

/** Value of `traceparent` for what is asked within the span of the request. */
export const traceparentOf = ({ id, span, sampled }: Trace): string => `00-${id}-${span}-0${sampled ? 1 : 0}`;
