import { flushCompileCache } from 'node:module';
import type { Settings } from '../config/config.ts';
import { textOf, type Action, type Invocation } from './command.ts';
import { keepCompiled } from './compiled.ts';
import { wholeOf } from './values.ts';

/** The command `start`: runs the gate. */
export const start: Action = {
  examples: ['NEWAPI_BASE_URL=http://localhost:3000 heimdall start', 'heimdall start --config heimdall.yaml --port 8080'],
  options: {
    host: { type: 'string', value: 'ADDRESS', summary: 'address to listen on (default: server.host)' },
    port: { type: 'string', short: 'p', value: 'PORT', summary: 'port to listen on, 0 for a free one (default: server.port)' },
    json: { type: 'boolean', summary: 'print a line of JSON when it listens: url, page, admin_url, newapi, pid; as all lines on standard output, one document a line' },
    demo: { type: 'boolean', summary: 'try it with stand-in upstreams and callers; needs a checkout' },
  },
  run: async (invocation) => {
    const settings = settingsOf(invocation);
    if (invocation.values['demo']) {
      await demonstration(settings);
      return null;
    }
    keepCompiled();
    const { loadSettings } = await import('../config/config.ts');
    const { serve } = await import('../server/server.ts');
    const { url, page, adminUrl, gate } = await serve(loadSettings(settings));
    // A process that is killed does not write it.
    flushCompileCache();
    if (invocation.values['json']) invocation.output.out(`${JSON.stringify({ url, page, admin_url: adminUrl, newapi: gate.config.newapi.baseUrl, pid: process.pid })}\n`);
    return null;
  },
};

/** What the options say, above file and environment. @throws UsageError when one has no such value. */
export function settingsOf(invocation: Invocation): Settings {
  const host = textOf(invocation, 'host');
  const port = wholeOf(invocation, 'port', 65_535, '8000');
  const server = { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) };
  return { path: textOf(invocation, 'config'), code: { server } };
}

/** The stand-ins of the demo belong to the tests, which the published package does not contain. */
async function demonstration(settings: Settings): Promise<void> {
  const path = new URL('../../examples/standalone/demo.ts', import.meta.url).href;
  const found = await import(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') throw new Error('start --demo: expected a checkout of the repository with its development packages. Example: npm install && npm start -- --demo');
    throw error;
  }) as { demonstrate(settings: Settings): Promise<void> };
  await found.demonstrate(settings);
}
