// What the panels are made of.

import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { Asked } from './ask.ts';
import { mayChange } from './api.ts';
import type { Failure } from './failure.ts';
import { ago, clockTime, dateTime, momentOf, none, plain, t, took } from './text.ts';

/** The command line that prints what the reader looks at: of the number under the pointer or with the focus, else of the panel. */
export const pointedAt = signal<string | null>(null);
export const panelLine = signal('');

/** A sentence about something that was done, read out by screen readers too. */
export const notice = signal<{ readonly text: string; readonly bad: boolean } | null>(null);
export const say = (text: string, bad = false): void => { notice.value = { text, bad }; };

export type Tone = 'good' | 'bad' | 'warn' | 'calm' | 'quiet';

/** The frame of a panel. @param line the command line that prints it. */
export function Panel({ title, line, actions, children }: { readonly title: string; readonly line: string; readonly actions?: ComponentChildren; readonly children: ComponentChildren }): JSX.Element {
  useEffect(() => { panelLine.value = line; }, [line]);
  useEffect(() => { document.title = `${title} · Heimdall`; }, [title]);
  return (
    <>
      <header class="head">
        <h1 tabIndex={-1}>{title}</h1>
        <div class="actions">{actions}</div>
      </header>
      {children}
    </>
  );
}

/** A part of a panel with a heading. */
export function Part({ title, note, children, line, id }: { readonly title: string; readonly note?: ComponentChildren; readonly line?: string; readonly id?: string; readonly children: ComponentChildren }): JSX.Element {
  const name = useId();
  return (
    <section class="part" aria-labelledby={name} id={id}>
      <h2 id={name} data-line={line}>{title}{note === undefined ? null : <small>{note}</small>}</h2>
      {children}
    </section>
  );
}

/** A number, or another value, with a link to the records behind it and the command line that prints it. */
export function Num({ to, line, children, label }: { readonly to?: string | undefined; readonly line: string; readonly children: ComponentChildren; readonly label?: string }): JSX.Element {
  return to === undefined ? <span class="num" data-line={line} title={line}>{children}</span> : <a class="num" href={to} data-line={line} title={line} aria-label={label}>{children}</a>;
}

/** So long a text may be cut off, and is shown whole on asking. */
const mayBeCut = 16;

/** Recorded text: never markup, set apart from the direction of the text around it. */
export function Txt({ of, mono = false }: { readonly of: string | number | null | undefined; readonly mono?: boolean }): JSX.Element {
  if (of === null || of === undefined || of === '') return <span class="quiet">{none}</span>;
  const text = plain(String(of));
  return <bdi class={mono ? 'mono' : undefined} title={text.length > mayBeCut ? text : undefined}>{text}</bdi>;
}

/** A moment: the time of day or the distance, and all of it on asking. @param at ISO, or Unix seconds. */
export function When({ at, distance = false }: { readonly at: string | number | null | undefined; readonly distance?: boolean }): JSX.Element {
  const ms = momentOf(at);
  if (ms === null || Number.isNaN(ms)) return <span class="quiet">{none}</span>;
  return <time dateTime={new Date(ms).toISOString()} title={dateTime(ms)}>{distance ? ago(ms) : clockTime(ms)}</time>;
}

/** A word for a state; the mark before it tells without colour. */
export function Badge({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }): JSX.Element {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  readonly number?: boolean;
  /** Left out where there is little room. */
  readonly minor?: boolean;
  /** Takes the room that is left, on one line. */
  readonly wide?: boolean;
  /** Sentences of people, shown whole on as many lines as they need. */
  readonly prose?: boolean;
}

/** What a table shows. */
export interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string | number;
  /** A click on a row; the first column holds a link or a button that does the same for the keyboard. */
  readonly onOpen?: (row: Row) => void;
  readonly empty: ComponentChildren;
}

/** Rows and columns. Scrolls sideways where there is little room, by keyboard too. */
export function Table<Row>({ caption, columns, rows, keyOf, onOpen, empty }: TableProps<Row>): JSX.Element {
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  const kind = ({ number, minor, wide, prose }: Column<Row>): string | undefined => [number && 'number', minor && 'minor', wide && 'wide', prose && 'prose'].filter(Boolean).join(' ') || undefined;
  const clicked = (row: Row) => (event: MouseEvent): void => {
    if (!(event.target as Element).closest('a, button, input, select') && getSelection()?.isCollapsed !== false) onOpen?.(row);
  };
  return (
    <div class="scroll" role="group" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="aside">{caption}</caption>
        <thead><tr>{columns.map((column) => <th scope="col" class={kind(column)}>{column.title}</th>)}</tr></thead>
        <tbody>{rows.map((row) => (
          <tr key={keyOf(row)} class={onOpen === undefined ? undefined : 'opens'} onClick={onOpen === undefined ? undefined : clicked(row)}>
            {columns.map((column) => <td class={kind(column)}>{column.cell(row)}</td>)}
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}

/** Shows an answer, or that it is awaited, or why there is none. */
export function Shown<T>({ asked, children }: { readonly asked: Asked<T>; readonly children: (value: T) => ComponentChildren }): JSX.Element {
  return (
    <>
      {asked.error === null ? null : <Problem error={asked.error} again={asked.again} />}
      {asked.value === null ? (asked.error === null ? <p class="empty" aria-busy="true">{t().loading}</p> : null) : children(asked.value)}
    </>
  );
}

/** Why something did not work, in the server's words. */
export function Problem({ error, again }: { readonly error: Failure; readonly again?: () => void }): JSX.Element {
  return (
    <p class="problem" role="alert">
      <span>{problemText(error)}</span>
      {again === undefined ? null : <button type="button" onClick={again}>{t().again}</button>}
    </p>
  );
}

/** @returns the sentence for an error. */
export function problemText(error: Failure): string {
  const after = error.retryAfter === null ? '' : ` ${t().tryAgainIn(took(error.retryAfter * 1000))}`;
  if (error.code === 'unreachable') return t().unreachable;
  return `${plain(error.message)}${after}${error.requestId === null ? '' : ` (${error.requestId})`}`;
}

/** A button that needs the full login; a reader's is shown, and cannot be used. */
export function Change({ onClick, children, tone, disabled = false, label }: { readonly onClick: () => void; readonly children: ComponentChildren; readonly tone?: 'bad' | 'main'; readonly disabled?: boolean; readonly label?: string }): JSX.Element {
  const may = mayChange();
  return <button type="button" class={tone} disabled={!may || disabled} title={may ? undefined : t().readOnly} aria-label={label} onClick={onClick}>{children}</button>;
}

/** A window in front of the page, closed by Escape too. `side`: at the edge, for what is read. */
export function Window({ title, onClose, children, side = false }: { readonly title: ComponentChildren; readonly onClose: () => void; readonly children: ComponentChildren; readonly side?: boolean }): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const name = useId();
  useEffect(() => {
    const window = ref.current;
    const before = document.activeElement;
    window?.showModal();
    return () => {
      window?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const outside = (event: MouseEvent): void => { if (event.target === ref.current) onClose(); };
  return (
    <dialog ref={ref} class={side ? 'side' : undefined} aria-labelledby={name} onCancel={(event) => { event.preventDefault(); onClose(); }} onMouseDown={outside}>
      <div class="sheet">
        <header class="head"><h2 id={name}>{title}</h2><button type="button" class="plain" onClick={onClose} aria-label={t().close}>✕</button></header>
        {children}
      </div>
    </dialog>
  );
}

/** A form in a window. It stays open, with the reason, when what it does fails. */
export function Form({ title, done, onClose, act, children, tone = 'main' }: {
  readonly title: string; readonly done: string; readonly onClose: () => void; readonly act: (fields: Readonly<Record<string, string>>) => Promise<void>; readonly children: ComponentChildren; readonly tone?: 'bad' | 'main';
}): JSX.Element {
  const [error, setError] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await act(Object.fromEntries([...new FormData(event.target as HTMLFormElement)].map(([name, value]) => [name, String(value).trim()])));
    } catch (failure) {
      setError(failure as Failure);
    }
    setBusy(false);
  };
  return (
    <Window title={title} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {children}
        {error === null ? null : <Problem error={error} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>{t().cancel}</button>
          <button type="submit" class={tone} disabled={busy} aria-busy={busy}>{done}</button>
        </div>
      </form>
    </Window>
  );
}

/** A field of a form with its label and, below, what it expects. */
export function Field({ label, hint, children }: { readonly label: string; readonly hint?: string | undefined; readonly children: ComponentChildren }): JSX.Element {
  return <label class="field"><span>{label}</span>{children}{hint === undefined ? null : <small>{hint}</small>}</label>;
}

/** A list of choices. */
export function Choice({ name, value, choices, onChange, label }: { readonly name?: string; readonly value: string; readonly choices: readonly (readonly [string, string])[]; readonly onChange?: (value: string) => void; readonly label?: string }): JSX.Element {
  return (
    <select name={name} aria-label={label} value={value} onChange={onChange === undefined ? undefined : (event) => onChange(event.currentTarget.value)}>
      {choices.map(([choice, text]) => <option value={choice} selected={choice === value}>{text}</option>)}
    </select>
  );
}

/** A button that copies a text. */
export function Copy({ text, label }: { readonly text: string; readonly label?: string }): JSX.Element {
  // Without TLS a browser has no clipboard for pages.
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say(t().copied);
    } catch {
      say(t().notCopied, true);
    }
  };
  return <button type="button" class="plain" onClick={() => void copy()} title={t().copy} aria-label={label ?? t().copy}><svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.4"><path d="M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1" /></svg></button>;
}

/** Pairs of names and values. */
export function Facts({ of }: { readonly of: readonly (readonly [string, ComponentChildren])[] }): JSX.Element {
  return <dl class="facts">{of.map(([name, value]) => <div><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

/** A share of a whole as a bar, with its text. */
export function Bar({ part, whole, text, tone = 'calm' }: { readonly part: number; readonly whole: number; readonly text: ComponentChildren; readonly tone?: Tone }): JSX.Element {
  const filled = whole <= 0 ? 0 : Math.min(1, part / whole);
  return <span class="bar"><span class={`fill ${tone}`} style={{ width: `${filled * 100}%` }} /><span>{text}</span></span>;
}
