import { loadSettings, type Settings } from '../../lib/config/config.ts';
import { serve, type Serving } from '../../lib/index.ts';
import { startDemo } from '../../test/support/demo.ts';

/** Brings up a stand-in for NewAPI behind the gate, so that everything can be tried without an account. */
export async function demonstrate(settings: Settings = {}): Promise<void> {
  const upstream = await startDemo();
  const env = { HEIMDALL_HOST: '127.0.0.1', ...process.env, NEWAPI_BASE_URL: upstream.url };
  const start = async (): Promise<Serving> => serve(loadSettings({ ...settings, env }));
  const { url } = await start().catch(async (error: unknown) => {
    await upstream.close();
    throw error;
  });
  const body = JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello, Heimdall' }] });
  process.stdout.write(`
  stand-in upstream  ${upstream.url}
  gate               ${url}   (open it in a browser for the stand-in's page)
  health             ${url}/health

  Try it:
  curl ${url}/v1/chat/completions -H 'Authorization: Bearer ${upstream.key}' -H 'Content-Type: application/json' -d '${body}'

`);
}
