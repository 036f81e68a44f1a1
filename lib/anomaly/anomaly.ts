// Who is behind a key: signals of finished requests, bounded state, detectors, findings.

export { Findings, ruleNames } from './findings.ts';
export type { FromObserver } from './observer.ts';
export { sentencesOf } from './sentences.ts';
export { signalOf } from './signals.ts';
export { actionOf, defaultActions, milder } from './thresholds.ts';
export { raiseAt, Watch } from './watch.ts';

/** The module that follows the journal in its thread. */
export const observerModule = (extension: string): string => new URL(`./observer${extension}`, import.meta.url).href;
