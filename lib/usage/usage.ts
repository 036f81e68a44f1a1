// What an answer used, in tokens, and what it cost, in US dollars.

export { carriedTap } from './carried.ts';
export { ExtraChunkFilter, withUsage } from './include-usage.ts';
export { meterFor, type UsageTap } from './meter.ts';
export { costs, type CostOf, pricing } from './prices.ts';
export { estimateTokens, jsonUsage } from './tokens.ts';
