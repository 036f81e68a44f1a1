import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse as parseYaml } from 'yaml';
import { resolveConfig } from '../../lib/config/load.ts';
import { errors } from '../../lib/errors.ts';
import { Metrics } from '../../lib/telemetry/metrics.ts';
import { rowOf, seriesNames } from '../../lib/config/series.ts';
import { parse } from '../support/exposition.ts';
import { temporary } from '../support/gate.ts';
import { noPromtool, promtool } from '../support/promtool.ts';

const deploy = new URL('../../examples/deploy/', import.meta.url);
const path = (name: string): string => fileURLToPath(new URL(name, deploy));
const read = (name: string): string => readFileSync(path(name), 'utf8');

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description?: string };
}

const { panels } = JSON.parse(read('grafana.json')) as { panels: readonly Panel[] };
const rules = (parseYaml(read('heimdall.rules.yml')) as { groups: readonly { rules: readonly Rule[] }[] }).groups.flatMap(({ rules: each }) => each);
const questions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** Names in an expression that stand for a metric: not a function, not a label, not within quotes. */
function metricsIn(expr: string): string[] {
  const plain = expr.replace(/"[^"]*"/g, '""').replace(/\b(?:by|on|without|ignoring)\s*\([^)]*\)/g, '').replace(/\{[^}]*\}/g, '').replace(/\[[^\]]*\]/g, '');
  return [...plain.matchAll(/[a-zA-Z_:][\w:]*(?!\w*\s*\()/g)].map(([name]) => name).filter((name) => !['or', 'and', 'unless', 'bool'].includes(name));
}

/** Labels an expression asks for, beside what Prometheus adds. */
function labelsIn(expr: string): string[] {
  const matched = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, inside = '']) => [...inside.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label));
  const grouped = [...expr.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, inside = '']) => inside.split(',').map((label) => label.trim()));
  return [...matched, ...grouped].filter((label) => label !== '' && label !== 'instance' && label !== 'job' && label !== 'le');
}

describe('the board and the alerts', () => {
  const known = new Map<string, readonly string[]>();

  before(async () => {
    for (const name of seriesNames) {
      const { type, labels, otel } = rowOf(name);
      const full = otel ? name : `heimdall_${name}`;
      for (const part of type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']) known.set(full + part, labels);
    }
    const { samples } = parse(await new Metrics(resolveConfig({}), { size: 0 }).exposition());
    for (const { name, labels } of samples) if (!known.has(name)) known.set(name, Object.keys(labels));
    known.set('up', []);
  });

  it('ask only for metrics there are, by the labels they have', () => {
    assert.deepEqual(metricsIn('topk(10, sum by (a, b) (rate(m_x{l=~"n_y|z"}[5m]))) > 0 or vector(0)'), ['m_x']);
    assert.ok(questions.length > 40 && rules.length > 10);
    for (const expr of [...questions, ...rules.map((rule) => rule.expr)]) {
      const names = metricsIn(expr);
      assert.ok(names.length > 0, expr);
      const labels = names.flatMap((name) => known.get(name) ?? assert.fail(`${name} in ${expr}`));
      for (const label of labelsIn(expr)) assert.ok(labels.includes(label), `${label} in ${expr}`);
    }
  });

  it('leave no metric of the gate out of the board', () => {
    const shown = new Set(questions.flatMap(metricsIn).map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    assert.deepEqual(seriesNames.filter((name) => !shown.has(rowOf(name).otel ? name : `heimdall_${name}`)), []);
  });

  it('name errors the gate has', () => {
    const named = rules.flatMap(({ expr }) => [...expr.matchAll(/error_total\{type=~?"([^"]+)"/g)].flatMap(([, codes = '']) => codes.split('|')));
    assert.ok(named.length > 3);
    assert.deepEqual(named.filter((code) => !Object.hasOwn(errors, code)), []);
  });

  it('have titles, summaries and a place of their own', () => {
    for (const { title, type, gridPos: { x, w } } of panels) assert.ok(title !== '' && (type === 'row' || x + w <= 24), title);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`));
    assert.equal(new Set(cells).size, cells.length);
    for (const { alert, labels, annotations } of rules) assert.ok(/^Heimdall\w+$/.test(alert) && ['warning', 'critical'].includes(labels.severity) && annotations.summary.length > 20, alert);
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  });

  it('are valid, and the alerts fire when they should, by Prometheus\' tool', { skip: noPromtool }, () => {
    for (const args of [['check', 'rules', path('heimdall.rules.yml')], ['test', 'rules', path('heimdall.rules.test.yml')], ['check', 'config', '--syntax-only', path('prometheus.yml')]]) {
      const { ok, said } = promtool(args);
      assert.ok(ok, said);
    }
    const tested = new Set([...read('heimdall.rules.test.yml').matchAll(/alertname: (\w+)/g)].map(([, name = '']) => name));
    assert.ok([...tested].every((name) => rules.some(({ alert }) => alert === name)) && tested.size >= 10);
  });

  it('ask, on the board, what Prometheus can read', { skip: noPromtool }, (t) => {
    const filled = questions.map((expr) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*'));
    const file = join(temporary(t), 'board.yml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'board', rules: filled.map((expr, at) => ({ record: `board:question_${at}`, expr })) }] }));
    const { ok, said } = promtool(['check', 'rules', file]);
    assert.ok(ok, said);
  });
});
