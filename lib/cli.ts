#!/usr/bin/env node
import { runCommand } from './cli/cli.ts';

await runCommand(process.argv.slice(2));
