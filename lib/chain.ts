import { auth, body, cors, endpoints, fingerprint, guard, keyLimit, live, logging, type Middleware, openai, panicRecovery, passthrough, queue, rateLimit, requestTimer, routes, securityHeaders } from './middlewares/middlewares.ts';

/** The life of a request, top to bottom. Every position has its reason. */
export const chain: readonly Middleware[] = [
  requestTimer,    // first: every exit is timed
  fingerprint,     // an id and a record before anyone may refuse
  logging,         // must see refusals and aborts: it waits in the finish list
  live,            // answers when everything else is full
  guard,           // cheapest refusal
  securityHeaders, // on everything the gate says itself
  cors,            // preflights end here: no slot, no quota, no key
  rateLimit,       // before any credential is looked at, or guessing would be free
  endpoints,       // each with its own token; guessing is limited above
  auth,            // who is calling
  routes,          // what a configured path asks for, once it is known who asks
  body,            // nothing is buffered for strangers
  keyLimit,        // needs the key and the body
  queue,           // only work that may run waits
  openai,          // model routes: attempt, judge, fail over
  passthrough,     // everything else, and WebSockets, to NewAPI
  panicRecovery,   // last: catches whatever anything above throws
];

/** Parts that a configuration may leave out or put in another order; the others always run at their place. */
export const optional: ReadonlySet<string> = new Set(['request_timer', 'security_headers', 'cors', 'rate_limit', 'key_limit', 'queue', 'auth', 'logging']);

const fixed: ReadonlySet<string> = new Set([requestTimer.name, keyLimit.name, queue.name]);

/**
 * The chain as configured: the listed parts take the places of the optional ones in the order given. Three keep their
 * place whatever the list says: what stood in the timer's would come before the context it works on, and limits and the
 * queue need the caller and the body.
 * @param names `middleware` of the configuration, or null for the order above.
 */
export function ordered(names: readonly string[] | null): readonly Middleware[] {
  if (names === null) return chain;
  const moves = (name: string): boolean => optional.has(name) && !fixed.has(name);
  const chosen = names.filter(moves).map((name) => chain.find((part) => part.name === name) as Middleware);
  const kept = chain.filter((part) => !optional.has(part.name) || names.includes(part.name));
  let next = 0;
  return kept.map((part) => (moves(part.name) ? (chosen[next++] as Middleware) : part));
}
