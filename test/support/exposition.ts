import assert from 'node:assert/strict';

/** A line of the exposition. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Prometheus' text format read strictly: HELP, TYPE, then samples of that family alone, each once. */
export function parse(text: string): { types: Map<string, string>; samples: Sample[] } {
  assert.ok(text.endsWith('\n'));
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const seen = new Set<string>();
  const samples: Sample[] = [];
  let family = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      assert.ok(!helped.has(name), line);
      helped.add(name);
    } else if (kind === 'TYPE') {
      assert.ok(helped.has(name) && !types.has(name) && /^(counter|gauge|histogram|summary)$/.test(rest), line);
      types.set((family = name), rest);
    } else {
      const sample = readSample(line);
      assert.equal(sample.name.replace(types.get(family) === 'histogram' ? /_(bucket|sum|count)$/ : '', ''), family, line);
      const key = line.slice(0, line.lastIndexOf(' '));
      assert.ok(!seen.has(key), `twice: ${line}`);
      seen.add(key);
      samples.push(sample);
    }
  }
  return { types, samples };
}

/** prom-client writes `Nan`, which Prometheus reads. */
function readSample(line: string): Sample {
  const [, name = '', inside = '', value = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.e+-]+|\+Inf|-Inf|Na[Nn])$/.exec(line) ?? assert.fail(line);
  const labels = [...inside.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/g)];
  assert.equal(labels.map(([whole]) => whole).join(''), inside, line);
  return { name, labels: Object.fromEntries(labels.map(([, label = '', text = '']) => [label, text])), value: Number(value) };
}

export const named = (samples: readonly Sample[], name: string): Sample[] => samples.filter((sample) => sample.name === name);
