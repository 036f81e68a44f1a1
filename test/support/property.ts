import fc from 'fast-check';

// A check of a change draws the same inputs each time, so that it fails for the change alone. Everywhere else they are drawn anew: a
// failure prints its seed. `npm run prove -- --only fuzz` draws a million.
if (process.env['CI']) fc.configureGlobal({ seed: 1 });

export default fc;
