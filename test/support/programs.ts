import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Loaded before the tests (`--test-global-setup`) as well, so that they too start with it. A process that loads the gate would
// strip and compile all of it anew: 650 instead of 300 ms of CPU, its worker 150 instead of 20 ms.
process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'heimdall-compile-cache');

/** What a program that a test starts knows of the environment of its parent: where programs are, what is compiled already, and where to write. */
export const bare: Readonly<Record<string, string>> = { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...(process.env['TMPDIR'] !== undefined && { TMPDIR: process.env['TMPDIR'] }) };
