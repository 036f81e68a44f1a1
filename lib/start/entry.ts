// The package's entry for `import` and `require`: the version of Node is judged before anything else is loaded.

import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { nodeProblem } from './start.ts';

const problem = nodeProblem(process.versions.node);
if (problem !== null) throw new Error(`express-heimdall: ${problem}`);

export const { ConfigError, createServer, HeimdallError, heimdall, keepRawBody, loadConfig, serve } = createRequire(import.meta.url)(`../index${extname(import.meta.url)}`) as typeof import('../index.ts');
