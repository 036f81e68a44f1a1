import { loadConfig, serve, type Serving } from '../../lib/index.ts';
import { startDemo, type Demo } from '../../test/support/demo.ts';

const start = (upstream: Demo): Promise<Serving> =>
  serve(loadConfig(undefined, { HEIMDALL_HOST: '127.0.0.1', ...process.env, NEWAPI_BASE_URL: upstream.url }));

/** Brings up a stand-in for NewAPI behind the gate, so that everything can be tried without an account. */
export async function demonstrate(): Promise<void> {
  const upstream = await startDemo();
  const { url } = await start(upstream).catch(async (error: unknown) => {
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
