// Masks secrets in every text that leaves the process: records, access lines, events, errors, answers and exports.

export { cleanFields, printable, printableJson, printableLines } from './display.ts';
export { mask, maskCredentials, masked, maskUrl } from './mask.ts';
export { cookiesOf, headerOf, isJson, isSafe, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, maskedEnd, maskedPart, maxLength, opensKey, pathOf, type Body, type Headers, type MaskedPart } from './redact.ts';
export { carriersOf, credentialHeaders, credentialsOf, secretScrubber, withoutCredentials, type SecretScrubber } from './scrub.ts';
export { SecretFilter } from './secret-filter.ts';
