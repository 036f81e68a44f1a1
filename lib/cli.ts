#!/usr/bin/env node
import { main } from './cli/cli.ts';

const code = await main(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
if (code !== null) process.exitCode = code;
