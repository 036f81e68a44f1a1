import { textOf, type Command } from './command.ts';

/** The command `start`: runs the gate. */
export const start: Command = {
  name: 'start',
  args: [],
  summary: 'run the gateway',
  options: { demo: { type: 'boolean', summary: 'use a demo upstream; requires a checkout of the repository' } },
  run: async (invocation) => {
    if (invocation.values['demo']) {
      await demonstration();
      return null;
    }
    const { loadConfig } = await import('../config/config.ts');
    const { serve } = await import('../server/server.ts');
    await serve(loadConfig(textOf(invocation, 'config')));
    return null;
  },
};

/** The demo upstream belongs to the tests, which the published package does not contain. */
async function demonstration(): Promise<void> {
  const path = new URL('../../examples/standalone/demo.ts', import.meta.url).href;
  const found = await import(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') throw new Error('start --demo: expected a checkout of the repository with its development packages. Example: npm install && npm start -- --demo');
    throw error;
  }) as { demonstrate(): Promise<void> };
  await found.demonstrate();
}
