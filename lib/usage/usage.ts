// What an answer used, in tokens, and what it cost, in US dollars.

export { ExtraChunkFilter, withUsage } from './include-usage.ts';
export { isMetered, meterFor, type UsageMeter, writesText } from './meter.ts';
export { NewapiPrices } from './newapi-prices.ts';
export { costs, type CostOf, pricing } from './prices.ts';
export { SocketMeter, sumOf } from './socket-meter.ts';
export { estimateTokens, jsonUsage } from './tokens.ts';
export { budgetsOf, unpricedBudgets } from './unpriced.ts';
