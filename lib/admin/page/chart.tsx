// A chart over time. uPlot loads with the first one that is shown.

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { clockTime, language, zone } from './text.ts';

/** A line of a chart. */
export interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Name of the colour in the style sheet, without the dashes. */
  readonly colour: string;
}

/** What a chart shows. */
export interface ChartProps {
  readonly title: string;
  /** Unix seconds. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  /** The reader chose a range, Unix seconds. */
  readonly onRange?: (from: number, to: number) => void;
}

const height = 150;
/** So few values are dots too: one between gaps makes no line. */
const fewValues = 20;

/** Lines over time, with their values at the pointer, else the last ones. */
export function Chart({ title, times, lines, format, onRange }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const dark = useDark();
  const names = lines.map(({ label }) => label).join();
  const spoken = `${title}: ${lines.map(({ label, values }) => `${label} ${format(last(values))}, max. ${format(values.reduce<number | null>((most, value) => (value === null ? most : Math.max(most ?? value, value)), null))}`).join('; ')}`;
  useEffect(() => {
    const box = place.current;
    if (box === null) return;
    let plot: uPlot | null = null;
    let gone = false;
    const sizes = new ResizeObserver(() => plot?.setSize({ width: box.clientWidth, height }));
    const draw = async (): Promise<void> => {
      const { default: Plot } = await import('uplot');
      if (gone) return;
      plot = new Plot(optionsOf(Plot, box, times, lines, format, setAt, onRange), [times as number[], ...lines.map(({ values }) => values as (number | null)[])], box);
      sizes.observe(box);
    };
    const sight = new IntersectionObserver((seen) => {
      if (!seen.some(({ isIntersecting }) => isIntersecting)) return;
      sight.disconnect();
      void draw();
    });
    sight.observe(box);
    return () => {
      gone = true;
      sight.disconnect();
      sizes.disconnect();
      plot?.destroy();
    };
  }, [times, names, dark, language.value, zone.value]);
  const shown = at ?? times.length - 1;
  return (
    <figure class="chart">
      <figcaption><span>{title}</span><span class="legend">
        {at === null ? null : <time>{clockTime((times[shown] ?? 0) * 1000)}</time>}
        {lines.map(({ label, values, colour }) => <span class={`key ${colour}`}>{label} <b>{format(values[shown] ?? null)}</b></span>)}
      </span></figcaption>
      <div ref={place} class="plot" role="img" aria-label={spoken} />
    </figure>
  );
}

const last = (values: readonly (number | null)[]): number | null => values.at(-1) ?? null;

function useDark(): boolean {
  const [query] = useState(() => matchMedia('(prefers-color-scheme: dark)'));
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = (): void => setDark(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, [query]);
  return dark;
}

/** A canvas knows no style sheet: a probe beside it tells what a colour is now. */
function colourOf(box: HTMLElement, name: string): string {
  const probe = document.createElement('span');
  probe.className = `colour ${name}`;
  box.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function optionsOf(Plot: typeof uPlot, box: HTMLElement, times: readonly number[], lines: readonly Line[], format: ChartProps['format'], setAt: (at: number | null) => void, onRange: ChartProps['onRange']): uPlot.Options {
  const ink = colourOf(box, 'ink');
  const grid = { stroke: colourOf(box, 'rule'), width: 1 };
  const font = '11px system-ui, sans-serif';
  // Room for half of the last label.
  const isDays = (times.at(-1) ?? 0) - (times[0] ?? 0) > 43_200;
  return {
    width: box.clientWidth, height, padding: [8, isDays ? 36 : 20, 0, 0], legend: { show: false },
    ...(zone.value === null ? {} : { tzDate: (seconds: number) => Plot.tzDate(new Date(seconds * 1000), zone.value as string) }),
    cursor: { y: false, points: { size: 6 }, drag: { x: onRange !== undefined, y: false, setScale: false } },
    scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { stroke: ink, grid: { show: false }, ticks: { show: false }, font, size: 26, space: 70, values: (_plot, splits) => splits.map((seconds) => clockTime(seconds * 1000).replace(/:00$/, '')) },
      { stroke: ink, grid, ticks: { show: false }, font, size: 58, space: 32, values: (_plot, splits) => splits.map((value) => format(value)) },
    ],
    series: [{}, ...lines.map(({ label, colour, values }, at) => ({ label, stroke: colourOf(box, colour), width: 1.6, points: { show: values.filter((value) => value !== null).length <= fewValues, size: 4 }, spanGaps: false, ...(at === 0 ? { fill: colourOf(box, `${colour} soft`) } : {}) }))],
    hooks: {
      setCursor: [({ cursor }) => setAt(cursor.idx ?? null)],
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width > 4) onRange?.(Math.floor(plot.posToVal(left, 'x')), Math.ceil(plot.posToVal(left + width, 'x')));
      }],
    },
  };
}
