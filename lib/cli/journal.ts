import type { Command, Option } from './command.ts';

const path: Option = { type: 'string', value: 'FILE', what: 'the journal; else that of the configuration' };

/** What they do is loaded when it is asked for: `start` needs none of it. */
const work = () => import('./journal-run.ts');

/** The commands about the journal as a whole. */
export const journalCommands: readonly Command[] = [
  {
    name: 'verify',
    wants: [],
    what: 'whether the journal is what was written: names the first break, also of a rewritten or cut one',
    options: { path, events: { type: 'string', value: 'FILE', what: 'an event log, with whose checkpoints the journal is compared too' } },
    run: async (given) => (await work()).verify(given),
  },
  {
    name: 'forget',
    wants: [],
    what: 'erase from the journal who it was and what was said in all records of a key, an address or a device; it still verifies',
    options: {
      key: { type: 'string', value: 'KEY', what: 'name of a gateway key, identity of a token (16 hex digits), or the token itself' },
      address: { type: 'string', value: 'IP', what: 'client address, also where it stands in a forwarded chain' },
      device: { type: 'string', value: 'HASH', what: 'device fingerprint, 64 hex digits' },
      path,
    },
    run: async (given) => (await work()).forget(given),
  },
  {
    name: 'backup',
    wants: ['FILE'],
    what: 'copy the journal as it is now into a new file, and the keys and bans beside it, while the gate runs',
    options: { path },
    run: async (given) => (await work()).backup(given),
  },
];
