// What an answer used and what it cost.

export { carriedTap } from './carried.ts';
export { estimateTokens } from './estimate.ts';
export { ExtraChunkFilter, withUsage } from './include-usage.ts';
export { jsonUsage, meterFor, type UsageTap } from './meter.ts';
export { costs, type CostOf } from './prices.ts';
