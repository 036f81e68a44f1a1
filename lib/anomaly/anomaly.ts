// Who is behind a key: signals of finished requests, bounded state, detectors, findings.

export { actionOf, defaultActions, milder } from './thresholds.ts';
export { raiseAt, Watch } from './watch.ts';
