import { filters, readWanted, SearchError } from '../journal/journal.ts';
import { HeimdallError } from '../errors.ts';
import { type Call, integer, type Method, parametersOf, word } from './call.ts';
import { LiveView, type Test } from './live-view.ts';

/** Rows a second at most. */
const mostRows = 20;
/** Filters that can be judged as a request ends, as the search of records judges them. */
const names = ['key', 'token', 'model', 'target', 'outcome', 'status'] as const;

/** `GET events`: the event stream. */
export const readEvents: Method = (call, { hub, queue }) => {
  const view = viewOf(call);
  if (call.context.req.method === 'HEAD') return { status: 200, head: ['Content-Type', 'text/event-stream'] };
  hub.read(call.context, view, () => queue.view().waiting);
  return null;
};

/** Reads the query `rows=20&key=…&status=5xx&own=false`. @throws HeimdallError naming the parameter. */
function viewOf(call: Call): LiveView {
  const { config, clock } = call.context.core;
  const asked = parametersOf(call, ['rows', 'own', ...names]);
  const rows = asked.has('rows') ? integer(asked, 'rows', mostRows, 1, mostRows) : null;
  const tests = names.flatMap((name) => (asked.has(name) ? [testOf(name, asked.get(name) as string, clock.now())] : []));
  if (word(asked, 'own', ['true', 'false'], 'true') === 'false') tests.push(({ route: { template } }) => !template.startsWith(`${config.admin.path}/`));
  return new LiveView(JSON.stringify(['rows', 'own', ...names].map((name) => asked.get(name) ?? null)), rows, tests);
}

function testOf(name: (typeof names)[number], text: string, now: number): Test {
  if (name !== 'token') checked(name, text, now);
  switch (name) {
    case 'key':
      return ({ key, token }) => text === key || text === token?.id;
    case 'token':
      return ({ token }) => text === token?.id;
    case 'model': {
      const start = text.endsWith('*') ? text.slice(0, -1) : null;
      return ({ model }) => (start === null ? model === text : model?.startsWith(start) === true);
    }
    case 'target':
      return ({ target }) => target === text;
    case 'outcome': {
      const [kind, code] = text.split(':');
      return ({ outcome, errorCode }) => outcome === kind && (code === undefined || errorCode === code);
    }
    case 'status': {
      const least = /^\dxx$/i.test(text) ? Number(text[0]) * 100 : null;
      return ({ status }) => (least === null ? status === Number(text) : status >= least && status < least + 100);
    }
  }
}

/** Refuses what the search of records would refuse. */
function checked(name: keyof typeof filters, text: string, now: number): void {
  try {
    readWanted({ [name]: text }, now);
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: error.message, field: error.field });
    throw error;
  }
}
