// What takes longer than a request: verifying, exporting, forgetting. The server works; the page shows how far it is.

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { change, get, send } from './api.ts';
import type { Failure } from './failure.ts';
import { command } from './cli.ts';
import type { Job } from './shapes.ts';
import { count, t } from './text.ts';
import { Badge, Bar, Change, Choice, Field, Problem, say, Table, type Tone, Txt, When, Window } from './ui.tsx';

/** Time between two looks at running jobs, milliseconds. */
const lookAgain = 1000;
const tones: Readonly<Record<Job['state'], Tone>> = { running: 'calm', done: 'good', failed: 'bad', cancelled: 'quiet' };

/** The jobs, looked at again while one is running. */
function useJobs(): { readonly jobs: readonly Job[]; readonly error: Failure | null; readonly look: () => void } {
  const [jobs, setJobs] = useState<readonly Job[]>([]);
  const [error, setError] = useState<Failure | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const ending = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    get<{ readonly jobs: readonly Job[] }>('jobs', {}, ending.signal).then(({ jobs: found }) => {
      setJobs(found);
      setError(null);
      if (found.some(({ state }) => state === 'running')) timer = setTimeout(() => setRound(round + 1), lookAgain);
    }, (failure: Failure) => { if (!ending.signal.aborted) setError(failure); });
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }, [round]);
  return { jobs, error, look: () => setRound((before) => before + 1) };
}

/** All jobs, with buttons that begin one. */
export function Jobs({ children }: { readonly children: (look: () => void) => JSX.Element }): JSX.Element {
  const { jobs, error, look } = useJobs();
  return <>{children(look)}{error === null ? <JobTable jobs={jobs} changed={look} /> : <Problem error={error} again={look} />}</>;
}

function JobTable({ jobs, changed }: { readonly jobs: readonly Job[]; readonly changed: () => void }): JSX.Element {
  const texts = t().jobs;
  const end = async (job: Job): Promise<void> => {
    await change('DELETE', `jobs/${encodeURIComponent(job.id)}`).catch((error: Failure) => say(error.message, true));
    changed();
  };
  return (
    <Table caption={texts.title} rows={jobs} keyOf={({ id }) => id} empty={texts.none} columns={[
      { title: texts.kind, cell: ({ kind }) => texts.kinds[kind] },
      { title: texts.progress, cell: (job) => <Progress of={job} /> },
      { title: texts.started, minor: true, cell: ({ started }) => <When at={started} distance /> },
      { title: texts.result, cell: (job) => <Result of={job} /> },
      { title: t().findings.does, cell: (job) => <Change onClick={() => void end(job)}>{job.state === 'running' ? t().cancel : texts.remove}</Change> },
    ]} />
  );
}

function Progress({ of: { state, done, total } }: { readonly of: Job }): JSX.Element {
  if (state !== 'running') return <Badge tone={tones[state]}>{t().jobs.states[state]}</Badge>;
  const part = total === null || total === 0 ? null : Math.min(1, done / total);
  return <span role="progressbar" aria-label={t().jobs.progress} aria-valuemin={0} aria-valuemax={100} aria-valuenow={part === null ? undefined : Math.round(part * 100)}><Bar part={done} whole={total ?? 0} text={total === null ? count(done) : <>{count(done)} / {count(total)}</>} /></span>;
}

function Result({ of: { id, kind, state, result, error } }: { readonly of: Job }): JSX.Element {
  if (error !== null) return <Txt of={error} />;
  const facts = Object.entries(result ?? {}).filter(([, value]) => typeof value !== 'object');
  return <>{kind === 'export' && state === 'done' ? <button type="button" onClick={() => void download(id)}>{t().jobs.download}</button> : null} {facts.map(([name, value]) => <span class="pair"><Txt of={`${name.replaceAll('_', ' ')}: ${String(value)}`} /> </span>)}</>;
}

/** Saves the file of an export. A plain link would not carry the proof of the login. */
async function download(id: string): Promise<void> {
  try {
    const answer = await send('GET', `jobs/${encodeURIComponent(id)}/file`);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await answer.blob());
    link.download = /filename="?([\w.-]+)/.exec(answer.headers.get('Content-Disposition') ?? '')?.[1] ?? `heimdall-${id}`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say((error as Failure).message, true);
  }
}

/** Begins a job. @returns whether it has begun. */
export async function begin(job: object): Promise<boolean> {
  try {
    await change('POST', 'jobs', job);
    return true;
  } catch (error) {
    say((error as Failure).message, true);
    return false;
  }
}

/** A window that exports the records of a search. */
export function Export({ filters, line, onClose }: { readonly filters: Readonly<Record<string, string>>; readonly line: (file: string) => string; readonly onClose: () => void }): JSX.Element {
  const texts = t().jobs;
  const [format, setFormat] = useState('jsonl');
  return (
    <Window title={texts.export} onClose={onClose}>
      <Jobs>{(look) => (
        <>
          <p>{texts.exportHint}</p>
          <Field label={texts.format}><Choice value={format} onChange={setFormat} choices={[['jsonl', 'JSON Lines'], ['csv', 'CSV']]} /></Field>
          <p><code>{line(`heimdall.${format}`)}</code></p>
          <div class="buttons"><Change tone="main" onClick={() => void begin({ kind: 'export', format, filters }).then(look)}>{texts.beginExport}</Change></div>
        </>
      )}</Jobs>
    </Window>
  );
}

/** Verifying the journal, and forgetting a caller. */
export function JournalJobs(): JSX.Element {
  const texts = t().jobs;
  const [forgetting, setForgetting] = useState(false);
  return (
    <Jobs>{(look) => (
      <>
        <div class="buttons">
          <span data-line={command('verify')}><Change onClick={() => void begin({ kind: 'verify' }).then(look)}>{texts.verify}</Change></span>
          <span data-line={command('forget', [], { key: 'KEY' })}><Change tone="bad" onClick={() => setForgetting(true)}>{texts.forget}</Change></span>
        </div>
        {forgetting ? <Forget onClose={() => setForgetting(false)} look={look} /> : null}
      </>
    )}</Jobs>
  );
}

function Forget({ onClose, look }: { readonly onClose: () => void; readonly look: () => void }): JSX.Element {
  const texts = t().jobs;
  const [what, setWhat] = useState('key');
  const [value, setValue] = useState('');
  const go = async (): Promise<void> => {
    if (await begin({ kind: 'forget', [what]: value.trim() })) onClose();
    look();
  };
  return (
    <Window title={texts.forget} onClose={onClose}>
      <p>{texts.forgetHint}</p>
      <Field label={texts.what}><Choice value={what} onChange={setWhat} choices={(['key', 'token', 'ip', 'device'] as const).map((each) => [each, texts.whats[each]] as const)} /></Field>
      <Field label={texts.value}><input value={value} onInput={(event) => setValue(event.currentTarget.value)} spellcheck={false} autocomplete="off" /></Field>
      <p><code>{command('forget', [], { [what === 'ip' ? 'address' : what === 'token' ? 'key' : what]: value || 'VALUE' })}</code></p>
      <div class="buttons"><button type="button" onClick={onClose}>{t().cancel}</button><Change tone="bad" disabled={value.trim() === ''} onClick={() => void go()}>{texts.forget}</Change></div>
    </Window>
  );
}
