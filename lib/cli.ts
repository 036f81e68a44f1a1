#!/usr/bin/env node
import { nodeProblem } from './start/start.ts';

const problem = nodeProblem(process.versions.node);
if (problem === null) {
  const { runCommand } = await import('./cli/cli.ts');
  await runCommand(process.argv.slice(2));
} else {
  process.stderr.write(`heimdall: ${problem}\n`);
  process.exitCode = 1;
}
