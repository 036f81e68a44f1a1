// Who is behind a key: signals of finished requests, bounded state, detectors, findings.

export { Exchange } from './exchange.ts';
export { forgetFindings } from './forgotten.ts';
export { Findings } from './findings.ts';
export { freezeLeaked, type KeyOwners } from './leaked.ts';
export type { FromObserver, ObserverOptions, PlacesOf } from './observer.ts';
export { whyNoPlaces } from './places.ts';
export { ruleNames, sentencesOf } from './sentences.ts';

/** The module that follows the journal in its thread. */
export const observerModule = (extension: string): string => new URL(`./observer${extension}`, import.meta.url).href;
