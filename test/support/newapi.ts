export { startNewapi, type Newapi, type Override } from './newapi/index.ts';
export { stripeSignature } from './newapi/dashboard.ts';
export { CHAT_ANSWER, CHAT_REQUEST } from './newapi/hot.ts';
export { DEMO_KEY, MODELS, OTHER_KEY, ROOT_KEY } from './newapi/state.ts';
export type { Behaviour, KeyOptions, Limit, NewapiOptions, SeenRequest, UsageRow, UserOptions } from './newapi/state.ts';
