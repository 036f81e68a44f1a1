import { ownPaths } from '../request/request.ts';
import { readWanted, SearchError } from '../journal/journal.ts';
import { HeimdallError } from '../errors.ts';
import { type Call, integer, type Method, parametersOf, word } from './call.ts';
import { type Asked, type FilterName, filterNames } from './live-view.ts';

/** Rows a second at most. */
const mostRows = 20;

/** `GET events`: the event stream. */
export const readEvents: Method = (call, { hub, queue }) => {
  const asked = readAsked(call);
  if (call.context.req.method === 'HEAD') return { status: 200, head: ['Content-Type', 'text/event-stream'] };
  hub.read(call.context, asked, () => queue.view().waiting);
  return null;
};

/** Reads the query `rows=20&key=…&status=5xx&own=false`. @throws HeimdallError naming the parameter. */
function readAsked(call: Call): Asked {
  const { config, clock } = call.context.core;
  const asked = parametersOf(call, ['rows', 'own', ...filterNames]);
  const rows = asked.has('rows') ? integer(asked, 'rows', mostRows, 1, mostRows) : null;
  const filters = Object.fromEntries(filterNames.flatMap((name) => (asked.has(name) ? [[name, checked(name, asked.get(name) as string, clock.now())]] : [])));
  return { rows, filters, hidden: word(asked, 'own', ['true', 'false'], 'true') === 'false' ? ownPaths(config) : [] };
}

/** Refuses what the search of records would refuse. */
function checked(name: FilterName, text: string, now: number): string {
  if (name === 'token') return text;
  try {
    readWanted({ [name]: text }, now);
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: error.message, field: error.field });
    throw error;
  }
  return text;
}
