// Wrappers of Node and Redis: clock, directories, bounded caches, the shared Redis connection.

export { chownToDirectoryOwner } from './chown.ts';
export { Calendar, calendarOf, steadyTime, systemClock, withMonotonic } from './clock.ts';
export { type Console, consoleOf, written } from './console.ts';
export { Crew, Link, type News, own, type PairInUse, shared } from './crew.ts';
export { SharedCounts, sharedCountsMemory } from './shared-counts.ts';
export { codeOf, describe } from './describe.ts';
export { makeDirectory } from './directory.ts';
export { atExit } from './exit.ts';
export { guard, guardedClock, inBackground, Repeated, type GuardDeps } from './guard.ts';
export { MemorySocket } from './memory-socket.ts';
export { Memo, InternedTexts, Variants, ownText } from './memo.ts';
export { OutboundProxy, openTunnel, type ProxyHop, type ProxyVariables } from './outbound-proxy.ts';
export { type RelayedPeer, RelaySocket } from './relay-socket.ts';
export { Rounds } from './rounds.ts';
export { packageVersion } from './version.ts';
export { redisOf, scriptOf, type Redis } from './redis.ts';
