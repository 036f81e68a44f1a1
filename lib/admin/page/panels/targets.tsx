import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change, curlOf } from '../api.ts';
import { useAsk } from '../ask.ts';
import { logs } from '../cli.ts';
import { BreakerState, QueueBar, TargetTable } from '../parts.tsx';
import { hrefOf } from '../route.ts';
import type { Queue, Target } from '../shapes.ts';
import { t } from '../text.ts';
import { Change, Field, Form, Num, Panel, Part, say, Shown, Table, Txt } from '../ui.tsx';

const refreshed = 15_000;
const events = /^(?:target|breaker|queue)\b/;

export default function TargetsPanel(): JSX.Element {
  const targets = useAsk<{ readonly targets: readonly Target[] }>('targets', { every: refreshed, after: events });
  const queue = useAsk<Queue>('queue', { every: refreshed, after: events });
  const [resizing, setResizing] = useState(false);
  const texts = t().targets;
  const resize = async ({ concurrency }: Readonly<Record<string, string>>): Promise<void> => {
    await change('PATCH', 'queue', { concurrency: Number(concurrency) });
    say(texts.resized);
    setResizing(false);
    queue.again();
  };
  return (
    <Panel title={texts.title} line={curlOf('targets')}>
      <Shown asked={targets}>{({ targets: all }) => (
        <>
          <TargetTable targets={all} whole />
          <Part title={texts.perModel} note={texts.perModelHint}><Models targets={all} /></Part>
        </>
      )}</Shown>
      <Part title={texts.queue}>
        <Shown asked={queue}>{(value) => (
          <>
            <QueueBar queue={value} />
            {value.enabled ? <div class="buttons"><Change onClick={() => setResizing(true)}>{texts.resize}</Change></div> : null}
            {resizing ? <Form title={texts.resize} done={texts.resize} onClose={() => setResizing(false)} act={resize}><p>{texts.resizeHint}</p><Field label={texts.concurrency}><input name="concurrency" type="number" min={1} max={1_000_000} required value={value.concurrency} autofocus /></Field></Form> : null}
          </>
        )}</Shown>
      </Part>
    </Panel>
  );
}

/** Models that a target does not answer well, while others work. */
function Models({ targets }: { readonly targets: readonly Target[] }): JSX.Element {
  const texts = t().targets;
  const rows = targets.flatMap(({ name, models }) => models.map((model) => ({ ...model, name })));
  return (
    <Table caption={texts.perModel} rows={rows} keyOf={({ name, model }) => `${name} ${model}`} empty={texts.allModelsUp} columns={[
      { title: texts.target, cell: ({ name }) => <Txt of={name} /> },
      { title: texts.model, cell: ({ name, model }) => <Num to={hrefOf('requests', { target: name, model })} line={logs({ target: name, model })}><Txt of={model} /></Num> },
      { title: texts.state, cell: (model) => <BreakerState of={model} /> },
    ]} />
  );
}
