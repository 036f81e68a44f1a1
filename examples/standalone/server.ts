// The gate as a process of its own: `heimdall start` with the options given here. Outside this repository:
// npx -p express-heimdall heimdall start
import { runCommand } from '../../lib/cli/cli.ts';

await runCommand(['start', ...process.argv.slice(2)]);
