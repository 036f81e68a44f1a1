import { json, type Action, type Option } from './command.ts';

const path: Option = { type: 'string', value: 'FILE', summary: 'journal file (default: audit.path)' };

/** Loaded on demand, because the help does not need it. */
const work = () => import('./journal-run.ts');

/** `heimdall verify`. */
export const verify: Action = {
  options: { path, events: { type: 'string', value: 'FILE', summary: 'event log with checkpoints to compare the journal with' }, json },
  examples: ['heimdall verify', 'heimdall verify --path data/heimdall.db --events events.log'],
  run: async (invocation) => (await work()).verify(invocation),
};

/** `heimdall forget`. */
export const forget: Action = {
  options: {
    key: { type: 'string', value: 'KEY', summary: 'name of a gateway key, identity of a token (16 hex digits), or the token' },
    address: { type: 'string', value: 'IP', summary: 'client address, also within a forwarded chain' },
    device: { type: 'string', value: 'HASH', summary: 'device fingerprint, 64 hex digits' },
    path,
    json,
  },
  examples: ['heimdall forget --address 192.0.2.7'],
  run: async (invocation) => (await work()).forget(invocation),
};

/** `heimdall backup`. */
export const backup: Action = {
  options: { path, json },
  examples: ['heimdall backup heimdall-2026-01-31.db'],
  run: async (invocation) => (await work()).backup(invocation),
};

/** `heimdall restore`. */
export const restore: Action = {
  options: { path, json },
  examples: ['heimdall restore heimdall-2026-01-31.db'],
  run: async (invocation) => (await work()).restore(invocation),
};
