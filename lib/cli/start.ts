import { textOf, type Command } from './command.ts';

/** Runs the gate. */
export const start: Command = {
  name: 'start',
  wants: [],
  what: 'run the gate',
  options: { demo: { type: 'boolean', what: 'with a stand-in upstream; needs a checkout of the repository' } },
  run: async (given) => {
    if (given.values['demo']) {
      await demonstration();
      return null;
    }
    const { loadConfig } = await import('../config/config.ts');
    const { serve } = await import('../server/server.ts');
    await serve(loadConfig(textOf(given, 'config')));
    return null;
  },
};

/** The stand-in belongs to the tests, which a published package does not carry. */
async function demonstration(): Promise<void> {
  const path = new URL('../../examples/standalone/demo.ts', import.meta.url).href;
  const found = await import(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') throw new Error('start --demo: expected a checkout of the repository with its development packages. Example: npm install && npm start -- --demo');
    throw error;
  }) as { demonstrate(): Promise<void> };
  await found.demonstrate();
}
