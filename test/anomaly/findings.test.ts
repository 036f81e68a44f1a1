import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Action, RuleName } from '../../types/detector.d.ts';
import type { Finding, Sighting } from '../../types/finding.d.ts';
import { Findings } from '../../lib/anomaly/findings.ts';
import { ruleNames } from '../../lib/anomaly/sentences.ts';
import { resolveConfig } from '../../lib/config/config.ts';
import type { ConfigInput } from '../../lib/index.ts';
import type { KeyRegistry } from '../../lib/registry/registry.ts';
import type { Core } from '../../lib/request/request.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

const hour = 3_600_000;
const day = 24 * hour;
const subjectOf = (rule: RuleName): Sighting['subject'] =>
  rule === 'content_repetition' ? { kind: 'content', id: 'c' } : ['credential_stuffing', 'key_spraying', 'scanning'].includes(rule) ? { kind: 'network', id: '192.0.2.0/24' } : { kind: 'key', id: 'team' };

/** Findings over a registry in memory. */
function book(anomaly: ConfigInput['anomaly'] = { mode: 'enforce' }) {
  const clock = fakeClock();
  const log = recorder();
  let all = new Map<string, Finding>();
  const steps: number[] = [];
  const registry = {
    findings: () => all,
    changeFindings: async (edit: Parameters<KeyRegistry['changeFindings']>[0]) => {
      const next = new Map(all);
      const edits = edit(all);
      steps.push(edits.length);
      for (const [id, finding] of edits) if (finding === null) next.delete(id); else next.set(id, finding);
      all = next;
    },
  } as unknown as KeyRegistry;
  const findings = new Findings({ config: resolveConfig({ anomaly: anomaly ?? {} }), clock, log } as unknown as Core, registry);
  const sighting = (more: Partial<Sighting> = {}): Sighting => {
    const rule = more.rule ?? 'shared_key';
    return { rule, subject: subjectOf(rule), score: 100, reason: 'devices_in_turn', most: 'freeze', baseline: {}, evidence: { records: ['r'], requests: 1, devices: 2, networks: 1, sessions: 2 }, since: clock.now(), last: clock.now(), ...more };
  };
  const see = (more: Partial<Sighting> = {}): Promise<void> => findings.report(sighting(more));
  return { clock, log, findings, see, sighting, steps, only: () => findings.list()[0] as Finding };
}

const camel = (rule: string): string => rule.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

describe('the highest action of each rule', () => {
  for (const rule of ruleNames) {
    for (const action of ['none', 'flag', 'slow', 'limit', 'freeze'] as const) {
      it(`${rule}: ${action}`, async () => {
        const { see, findings } = book({ mode: 'enforce', rules: { [camel(rule)]: { action } } });
        await see({ rule });
        const expected = action === 'none' ? [] : [rule === 'content_repetition' ? 'flag' : action];
        assert.deepEqual(findings.list().map((finding) => finding.action), expected);
      });
    }
  }

  it('is there for every rule', () => {
    assert.deepEqual(Object.keys(resolveConfig({}).anomaly.rules).sort(), ruleNames.map(camel).sort());
  });
});

describe('a finding', () => {
  it('says in shadow mode what it would have done, and does nothing', async () => {
    const { see, only } = book({});
    await see({ score: 85 });
    assert.deepEqual([only().action, only().would, only().expires], ['none', 'slow', null]);
  });

  it('goes up with its score, never beyond what its evidence allows', async () => {
    const { see, only } = book();
    const seen: Action[] = [];
    for (const score of [71, 82, 91, 97]) {
      await see({ score });
      seen.push(only().action);
    }
    assert.deepEqual(seen, ['flag', 'slow', 'limit', 'freeze']);
    const soft = book();
    await soft.see({ score: 100, most: 'flag', reason: 'homes_in_turn' });
    assert.equal(soft.only().action, 'flag');
  });

  it('is one for more of the same, with at most 20 records', async () => {
    const { see, findings, only } = book();
    for (let at = 0; at < 30; at++) await see({ evidence: { records: [`r${at}`], requests: 1, devices: at, networks: 1, sessions: 0 } });
    assert.deepEqual([findings.list().length, only().evidence.records.length, only().evidence.requests, only().evidence.devices], [1, 20, 30, 29]);
  });

  it('acts for some hours, a day in all, and is over after a week', async () => {
    const { clock, see, only } = book();
    await see();
    assert.equal((only().expires as number) - clock.now(), 6 * hour);
    clock.tick(6 * hour);
    assert.deepEqual([only().action, only().state], ['none', 'open']);
    clock.tick(17 * hour);
    await see();
    assert.equal((only().expires as number) - clock.now(), hour);
    clock.tick(8 * day);
    assert.equal(only().state, 'over');
  });

  for (const way of ['undo', 'falsePositive'] as const) {
    it(`rests for 30 days after ${way}`, async () => {
      const { clock, findings, see, only } = book();
      await see();
      const { id } = only();
      assert.equal((await findings[way](id, 'it is one person')).action, 'none');
      clock.tick(29 * day);
      await see();
      assert.equal(findings.list().length, 1);
      clock.tick(2 * day);
      await see();
      assert.equal(findings.list().length, 2);
    });
  }

  it('acts later after a false positive, and sooner after a confirmed finding', async () => {
    const wrong = book();
    await wrong.see();
    await wrong.findings.falsePositive(wrong.only().id, '');
    wrong.clock.tick(31 * day);
    await wrong.see({ score: 97 });
    assert.equal(wrong.findings.list().find(({ state }) => state === 'open')?.action, 'slow');
    const right = book();
    await right.see({ rule: 'stolen_key', score: 71 });
    await right.findings.acknowledge(right.only().id, '');
    await right.see({ score: 77 });
    assert.equal(right.findings.list().find(({ rule }) => rule === 'shared_key')?.action, 'slow');
  });

  it('refuses actions of more than a day, ends in the past, actions on bodies, and ids that are none', async () => {
    const { clock, findings, see, only } = book();
    await see();
    const { id } = only();
    await assert.rejects(findings.act(id, 'freeze', clock.now() + 25 * hour, ''), /expires: expected a moment within 24 hours/);
    await assert.rejects(findings.act(id, 'freeze', clock.now() - 1, ''), /expires: expected a moment to come/);
    await assert.rejects(findings.undo('nothing', ''), /no finding of that id/);
    const body = book();
    await body.see({ rule: 'content_repetition' });
    await assert.rejects(body.findings.act(body.only().id, 'freeze', null, ''), /action: expected none or flag/);
  });

  it('is dropped with its records, and kept where an operator has judged it', async () => {
    const { clock, findings, see, only } = book();
    await see();
    await see({ rule: 'stolen_key' });
    await findings.falsePositive(only().id, '');
    clock.tick(29 * day);
    await findings.tidy();
    assert.equal(findings.list().length, 2);
    clock.tick(2 * day);
    await findings.tidy();
    assert.deepEqual(findings.list().map(({ state }) => state), ['false_positive']);
    clock.tick(60 * day);
    await findings.tidy();
    assert.deepEqual(findings.list(), []);
  });

  it('is told once when it is raised, and again when its action changes', async () => {
    const { log, see } = book();
    for (const score of [71, 72, 85, 86]) await see({ score });
    assert.deepEqual(log.events.map(({ event }) => event), ['finding.raised', 'finding.action']);
  });
});

describe('a report of leaked keys', () => {
  it('freezes thousands in steps that a store answers in time', async () => {
    const { findings, steps } = book({ mode: 'off' });
    await findings.reportLeaked(Array.from({ length: 4100 }, (_, at) => ({ caller: { kind: 'token', id: `t${at}` }, digest: null })));
    assert.deepEqual([steps, new Set(findings.list().map(({ action }) => action))], [[2000, 2000, 100], new Set(['freeze'])]);
  });
});

describe('a wave of sightings', () => {
  it('is stored in a few steps, each subject once', async () => {
    const { findings, sighting, steps } = book();
    for (let n = 0; n < 1000; n++) findings.reportSoon(sighting({ subject: { kind: 'key', id: `key-${n % 300}` }, evidence: { records: [`r${n}`], requests: 1, devices: 2, networks: 1, sessions: 2 } }));
    await findings.close();
    assert.equal(findings.list().length, 300);
    assert.ok(findings.list().every(({ evidence }) => evidence.records.length === (Number(evidence.records[0]?.slice(1)) % 300 < 100 ? 4 : 3)));
    assert.ok(steps.length <= 4, `${steps.length} steps`);
  });

  it('is told of each finding once, with the action it came to', async () => {
    const { findings, sighting, log } = book();
    findings.reportSoon(sighting({ subject: { kind: 'key', id: 'other' } }));
    for (const score of [40, 70, 100]) findings.reportSoon(sighting({ score }));
    await findings.close();
    assert.deepEqual(log.named('finding.raised').map((fields) => [fields['caller'], fields['score']]), [['other', 100], ['team', 100]]);
  });

  it('keeps a finding that grows, however old and however many there are', async () => {
    const { clock, log, findings, sighting } = book({ mode: 'shadow' });
    const about = (n: number): Sighting => sighting({ subject: { kind: 'key', id: `key-${n}` } });
    await findings.report(about(0));
    clock.tick(1000);
    await findings.report(...Array.from({ length: 5500 }, (_, n) => about(n + 1)));
    await findings.report(about(0));
    await findings.report(about(0));
    const ids = new Set(findings.list().map(({ caller }) => caller.id));
    assert.deepEqual([ids.size, ids.has('key-0'), ids.has('key-1')], [5001, true, false]);
    assert.equal(log.named('finding.raised').length, 5501);
  });

  it('that cannot be stored is told in the event log', async () => {
    const log = recorder();
    const registry = { findings: () => new Map(), changeFindings: () => Promise.reject(new Error('disk full')) } as unknown as KeyRegistry;
    const findings = new Findings({ config: resolveConfig({}), clock: fakeClock(), log } as unknown as Core, registry);
    for (let n = 0; n < 3; n++) findings.reportSoon(book().sighting());
    await findings.close();
    assert.equal(log.named('finding.lost').reduce((sum, { sightings }) => sum + Number(sightings), 0), 3);
  });
});
