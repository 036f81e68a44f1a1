import type { Segment } from '../../lib/record/segment.ts';
import { kinds, lateNumbers, numbers, ownTexts, texts, type Kind } from '../../lib/record/messages.ts';

type Text = (typeof ownTexts | typeof texts)[number];

/** A record as the main thread writes it: what is not said is empty. */
export interface Put extends Partial<Record<Text, string>> {
  readonly kind?: Kind;
  readonly numbers?: Partial<Record<(typeof numbers)[number], number>>;
  readonly agent?: string;
  readonly headers?: readonly string[];
  readonly body?: Buffer | null;
  readonly answer?: Buffer | null;
}

/** Writes a record into a segment. @returns false when it does not fit. */
export function put(segment: Segment, { kind = 'record', numbers: of = {}, agent = '', headers = [], body = null, answer = null, ...text }: Put): boolean {
  if (!segment.begin(agent, texts.length + headers.length)) return false;
  for (const name of ownTexts) segment.text(text[name] ?? '');
  for (const name of texts) segment.text(text[name] ?? '');
  for (const header of headers) segment.text(header);
  const all = { status: 0, duration: 0, attempts: 0, bytesIn: 0, bytesOut: 0, bodyTotal: body?.length ?? 0, answerTotal: answer?.length ?? 0, ...of, kind: kinds[kind] };
  for (const name of numbers.slice(lateNumbers)) segment.number(all[name as keyof typeof all] ?? NaN);
  return segment.end(body === null ? [] : [body], answer);
}

/** Writes what is no record. */
export function putNonsense(segment: Segment): boolean {
  if (!segment.begin('nonsense', 1)) return false;
  segment.text('no record');
  return segment.end([], null);
}
