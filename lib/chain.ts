import { auth, body, cors, endpoints, fingerprint, guard, keyLimit, live, logging, type Middleware, openai, panicRecovery, passthrough, queue, rateLimit, requestTimer, routes, securityHeaders } from './middlewares/middlewares.ts';

/** The life of a request, from top to bottom, with the reason for each position. */
export const chain: readonly Middleware[] = [
  requestTimer,    // first: every answer tells its time
  fingerprint,     // address, route and token, before a part may refuse
  logging,         // above all that refuse: its finisher sees refusals and aborts
  live,            // answers even when everything below is full
  guard,           // the cheapest refusal comes first
  securityHeaders, // on all answers of the parts below
  cors,            // preflights end here: they need no slot, limit or key
  endpoints,       // the gate's own paths have their own tokens, and each its own limit on guesses
  rateLimit,       // before a credential is checked, or guessing would be free
  auth,            // identifies the caller
  routes,          // checks what a configured path asks for; needs the caller
  body,            // after auth: bodies of unknown callers are not buffered
  keyLimit,        // needs the caller and the body
  queue,           // only requests within their limits wait
  openai,          // model routes: attempt, judge, fail over
  passthrough,     // all other requests, and WebSockets, to NewAPI
  panicRecovery,   // last: catches every error of the parts above
];

/** Parts that a configuration may leave out or reorder; the others always run at their place. */
export const optional: ReadonlySet<string> = new Set(['request_timer', 'security_headers', 'cors', 'rate_limit', 'key_limit', 'queue', 'auth', 'logging']);

const fixed: ReadonlySet<string> = new Set([requestTimer.name, keyLimit.name, queue.name]);

/**
 * The chain as configured: the listed parts take the places of the optional ones in the order given. Three keep their place
 * whatever the list says: the timer is first, and limits and the queue need the caller and the body.
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
