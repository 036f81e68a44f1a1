// The one door through which secrets leave the process as text: everything stored, logged, thrown or shown is masked here.

export { masked } from './mask.ts';
export { cookiesOf, headerOf, isSafe, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, longest, pathOf, type Headers } from './redact.ts';
export { credentialsOf, hider, withoutCredentials, type Hide } from './scrub.ts';
