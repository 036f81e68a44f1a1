// The gate as a process of its own. Outside this repository, import from 'express-heimdall'.
import { ConfigError, loadConfig, serve } from '../../lib/index.ts';
import { demonstrate } from './demo.ts';

const demo = process.argv.includes('--demo');

try {
  await (demo ? demonstrate() : serve(loadConfig()));
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError || error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
