import type { Context } from '../request/request.ts';
import { Histogram, type Sample } from './histogram.ts';

/** Upper bounds in seconds; the long end is where streams live. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const overheads = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const sizes = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** One route's histograms. */
class RouteSeries {
  readonly request = new Histogram(sizes);
  readonly response = new Histogram(sizes);
  readonly overhead = new Histogram(overheads);
  /** By method and class of status, as they come. */
  readonly durations: { readonly method: string; readonly status: string; readonly times: Histogram }[] = [];
  readonly #byCode: (Histogram | undefined)[] = new Array<Histogram | undefined>((methods.length + 1) * statusClasses.length).fill(undefined);

  add(context: Context): void {
    this.#duration(context).observe(context.duration / 1000);
    if (context.body !== null) this.request.observe(context.bytesIn);
    this.response.observe(context.bytesOut);
    const { overhead } = context;
    if (overhead !== null) this.overhead.observe(overhead / 1000);
  }

  #duration({ req, status }: Context): Histogram {
    const method = methods.indexOf(req.method ?? '');
    const statusClass = Math.min(5, Math.trunc(status / 100));
    const code = (method + 1) * statusClasses.length + statusClass;
    const known = this.#byCode[code];
    if (known !== undefined) return known;
    const times = new Histogram(durations);
    this.#byCode[code] = times;
    this.durations.push({ method: methods[method] ?? 'other', status: statusClasses[statusClass] as string, times });
    return times;
  }
}

/** How long finished requests took and how large they were. Routes bound the labels, and each knows few methods. */
export class RequestSeries {
  readonly #routes = new Map<string, RouteSeries>();

  add(context: Context): void {
    const { template } = context.route;
    let series = this.#routes.get(template);
    if (series === undefined) this.#routes.set(template, (series = new RouteSeries()));
    series.add(context);
  }

  durations(name: string): Sample[] {
    return [...this.#routes].flatMap(([route, series]) => series.durations.flatMap(({ method, status, times }) => times.samples(name, { route, method, status })));
  }

  byRoute(name: string, of: 'request' | 'response' | 'overhead'): Sample[] {
    return [...this.#routes].flatMap(([route, series]) => series[of].samples(name, { route }));
  }
}
