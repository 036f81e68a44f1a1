import type { JSX } from 'preact';
import { useAsk } from '../ask.ts';
import { command } from '../cli.ts';
import { FindingTable, ruleText } from '../finding.tsx';
import { More, useMore } from '../more.tsx';
import { place, refine } from '../route.ts';
import type { Finding, Findings } from '../shapes.ts';
import { t } from '../text.ts';
import { Choice, Panel, Shown, Txt } from '../ui.tsx';

const pageSize = 50;
const changes = /^finding\b/;

export default function FindingsPanel(): JSX.Element {
  const { state = '', rule = '', caller = '' } = place.value.query;
  const query = { state, rule, caller, limit: String(pageSize) };
  const asked = useAsk<Findings>('findings', { query, after: changes });
  const more = useMore<Findings, Finding>('findings', query, asked, ({ findings }) => findings);
  const texts = t().findings;
  return (
    <Panel title={texts.title} line={command('findings list', [], { state, rule })} actions={(
      <>
        <Choice label={texts.state} value={state} onChange={(value) => refine({ state: value })} choices={[['', texts.everyState], ...(['open', 'acknowledged', 'undone', 'false_positive', 'over'] as const).map((each) => [each, texts.states[each]] as const)]} />
        <Choice label={texts.rule} value={rule} onChange={(value) => refine({ rule: value })} choices={[['', texts.everyRule], ...Object.keys(texts.rules).map((each) => [each, ruleText(each)] as const)]} />
      </>
    )}>
      <Shown asked={asked}>{({ holds, records }) => (
        <>
          {records.available ? null : <p class="problem" role="status">{t().noRecords} <Txt of={records.problem} /></p>}
          {holds === 'this' ? <p class="hint">{texts.hereAlone}</p> : null}
          <FindingTable caption={texts.title} findings={more.rows} changed={asked.again} empty={texts.none} />
          <More of={more} />
        </>
      )}</Shown>
    </Panel>
  );
}
