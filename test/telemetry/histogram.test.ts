import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Histogram } from '../../lib/telemetry/request-series.ts';

it('a histogram counts a value in its bucket and in all above', () => {
  const histogram = new Histogram([0.1, 1, 10]);
  for (const value of [0, 0.1, 0.100_001, 1, 5, 10, 11, 1e12]) histogram.observe(value);
  const samples = histogram.samples('m', { route: 'r' });
  assert.deepEqual(samples.map(({ metricName, labels, value }) => [metricName, labels['le'], value]), [
    ['m_bucket', 0.1, 2], ['m_bucket', 1, 4], ['m_bucket', 10, 6], ['m_bucket', '+Inf', 8],
    ['m_sum', undefined, 0.1 + 0.100_001 + 1 + 5 + 10 + 11 + 1e12], ['m_count', undefined, 8],
  ]);
  assert.ok(samples.every(({ labels }) => labels['route'] === 'r'));
});
