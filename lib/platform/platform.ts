// What Node and Redis are wrapped in: clock, directories, bounded caches, the shared Redis connection.

export { adopt } from './adopt.ts';
export { systemClock } from './clock.ts';
export { codeOf, describe } from './describe.ts';
export { makeDirectory } from './directory.ts';
export { Memo, Texts, Variants, ownText } from './memo.ts';
export { redisOf, scriptOf, type Redis } from './redis.ts';
