import type { Command, Option } from './command.ts';

const path: Option = { type: 'string', value: 'FILE', summary: 'journal file (default: audit.path)' };

/** Loaded on demand, because `start` does not need it. */
const work = () => import('./journal-run.ts');

/** The commands about the whole journal. */
export const journalCommands: readonly Command[] = [
  {
    name: 'verify',
    args: [],
    summary: 'check the integrity of the journal (exit code 0: whole, 1: broken, 3: cannot be told)',
    options: { path, events: { type: 'string', value: 'FILE', summary: 'event log with checkpoints to compare the journal with' } },
    run: async (invocation) => (await work()).verify(invocation),
  },
  {
    name: 'forget',
    args: [],
    summary: 'erase the personal data of a caller from the journal',
    options: {
      key: { type: 'string', value: 'KEY', summary: 'name of a gateway key, identity of a token (16 hex digits), or the token' },
      address: { type: 'string', value: 'IP', summary: 'client address, also within a forwarded chain' },
      device: { type: 'string', value: 'HASH', summary: 'device fingerprint, 64 hex digits' },
      path,
    },
    run: async (invocation) => (await work()).forget(invocation),
  },
  {
    name: 'backup',
    args: ['FILE'],
    summary: 'copy the journal, keys and bans into new files',
    options: { path },
    run: async (invocation) => (await work()).backup(invocation),
  },
  {
    name: 'restore',
    args: ['FILE'],
    summary: 'make a backup the journal, while the gate is stopped',
    options: { path },
    run: async (invocation) => (await work()).restore(invocation),
  },
];
