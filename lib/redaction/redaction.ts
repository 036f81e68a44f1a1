// Masks secrets in every text that leaves the process: records, access lines, events, errors, answers and exports.

export { masked } from './mask.ts';
export { cookiesOf, headerOf, isSafe, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, maxLength, pathOf, type Headers } from './redact.ts';
export { credentialsOf, secretScrubber, withoutCredentials, type SecretScrubber } from './scrub.ts';
