import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { rowOf, seriesNames } from '../../lib/config/series.ts';
import { metricsTable } from '../generate.ts';

it('every metric is named as Prometheus names its kind, in base units', () => {
  for (const name of seriesNames) {
    const { type, labels, help } = rowOf(name);
    assert.match(name, /^[a-z][a-z0-9_]*[a-z0-9]$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.ok(!/_(?:ms|milliseconds|kb|percent|bucket|count|sum)$/.test(name), name);
    assert.ok(labels.every((label) => /^[a-z_]+$/.test(label) && label !== 'le'), name);
    assert.match(help, /^[A-Z0-9].*\.$/, name);
  }
});

it('no metric has the name of another, whatever the prefix is', () => {
  const bare = seriesNames.filter((name) => rowOf(name).otel);
  assert.ok(bare.length > 0 && bare.every((name) => name.startsWith('gen_ai_')));
});

it('the table of metrics has every metric of the list', () => {
  const readme = readFileSync(new URL('../../lib/telemetry/README.md', import.meta.url), 'utf8');
  assert.ok(readme.includes(`<!-- metrics:start -->\n\n${metricsTable()}\n<!-- metrics:end -->`), 'npm run generate');
  for (const name of seriesNames) assert.ok(metricsTable().includes(`| \`${name}\` |`), name);
});
