import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change, mayChange } from '../api.ts';
import type { Failure } from '../failure.ts';
import { useAsk } from '../ask.ts';
import { command } from '../cli.ts';
import type { Checked } from '../shapes.ts';
import { plain, t } from '../text.ts';
import { Badge, Change, Copy, Field, Panel, Part, Problem, Shown, Txt } from '../ui.tsx';

export default function SettingsPanel(): JSX.Element {
  const asked = useAsk<object>('config');
  const texts = t().settings;
  return (
    <Panel title={texts.title} line={command('check')}>
      <Part title={texts.inForce} note={texts.masked}><Shown asked={asked}>{(value) => <Config of={value} />}</Shown></Part>
      <Part title={texts.check} note={texts.checkHint} line={command('check', [], { config: 'FILE' })}><Check /></Part>
    </Panel>
  );
}

type Leaf = readonly [path: string, value: string];

/** The values of a configuration by their paths, as the reference writes them. */
function leavesOf(value: unknown, path = ''): readonly Leaf[] {
  if (value !== null && typeof value === 'object' && Object.keys(value).length > 0) return Object.entries(value).flatMap(([name, each]) => leavesOf(each, Array.isArray(value) ? `${path}[${name}]` : path === '' ? snake(name) : `${path}.${snake(name)}`));
  return [[path, typeof value === 'string' ? value : JSON.stringify(value)]];
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function Config({ of }: { readonly of: object }): JSX.Element {
  const texts = t().settings;
  const [wanted, setWanted] = useState('');
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const leaves = leavesOf(of).filter(([path, value]) => words.every((each) => path.toLowerCase().includes(each) || value.toLowerCase().includes(each)));
  const sections = Map.groupBy(leaves, ([path]) => path.split(/[.[]/)[0] as string);
  return (
    <>
      <div class="inline"><input type="search" aria-label={texts.find} placeholder={texts.find} value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} /> <Copy text={JSON.stringify(of, null, 2)} label={texts.copyAll} /></div>
      <div class="config">{[...sections].map(([section, values]) => (
        <details open={words.length > 0} key={`${section} ${words.length > 0}`}>
          <summary><code>{section}</code> <small>{texts.values(values.length)}</small></summary>
          <dl class="leaves">{values.map(([path, value]) => <div><dt><code>{path}</code></dt><dd><Txt of={value} mono /></dd></div>)}</dl>
        </details>
      ))}</div>
    </>
  );
}

/** Checks a pasted configuration; nothing of it takes effect. */
function Check(): JSX.Element {
  const texts = t().settings;
  const [yaml, setYaml] = useState('');
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState<Checked | null>(null);
  const [error, setError] = useState<Failure | null>(null);
  const check = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      setAnswer(await change<Checked>('POST', 'config/check', { yaml }));
    } catch (failure) {
      setAnswer(null);
      setError(failure as Failure);
    }
    setBusy(false);
  };
  return (
    <>
      <Field label={texts.paste} hint={texts.pasteHint}><textarea rows={10} value={yaml} onInput={(event) => setYaml(event.currentTarget.value)} spellcheck={false} autocomplete="off" disabled={!mayChange()} placeholder={'newapi:\n  base_url: http://localhost:3000'} /></Field>
      <div class="buttons"><Change tone="main" disabled={busy || yaml.trim() === ''} onClick={() => void check()}>{texts.checkIt}</Change></div>
      <div role="status">
        {error === null ? null : <Problem error={error} />}
        {answer === null ? null : <Verdict of={answer} />}
      </div>
    </>
  );
}

function Verdict({ of: { ok, problems, warnings, config } }: { readonly of: Checked }): JSX.Element {
  const texts = t().settings;
  return (
    <>
      <p><Badge tone={ok ? 'good' : 'bad'}>{ok ? texts.valid : texts.invalid(problems.length)}</Badge></p>
      {problems.length === 0 ? null : <ul class="problems">{problems.map(({ path, message }) => <li><code>{plain(path)}</code> <Txt of={message} /></li>)}</ul>}
      {warnings.length === 0 ? null : <><h3>{texts.warnings}</h3><ul class="problems">{warnings.map((warning) => <li><Txt of={warning} /></li>)}</ul></>}
      {config === null ? null : <><h3>{texts.wouldBe}</h3><Config of={config} /></>}
    </>
  );
}
