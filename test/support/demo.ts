import { startNewapi } from './newapi.ts';
import { DEMO_KEY } from './newapi/state.ts';

/** The NewAPI behind `npm start -- --demo`: nothing to install, nothing to pay. */
export interface Demo {
  readonly url: string;
  /** A key it accepts. */
  readonly key: string;
  close(): Promise<void>;
}

/** How long `POST /demo/outage` lasts, milliseconds. */
const OUTAGE = 30_000;

/** Starts it on 127.0.0.1; `port` 0 (default) takes any free one. */
export async function startDemo(options: { readonly port?: number } = {}): Promise<Demo> {
  const newapi = await startNewapi({ port: options.port ?? 0, pace: 40, page: PAGE, script: SCRIPT });
  newapi.on('POST /demo/outage', (_req, res) => {
    const end = newapi.on('POST /v1/chat/completions', (_chat, refused) => void refused.writeHead(503, { 'Content-Type': 'application/json' }).end('{"error":{"message":"The demo upstream has an outage.","type":"server_error"}}'));
    setTimeout(end, OUTAGE).unref();
    res.writeHead(200, { 'Content-Type': 'text/plain' }).end(`Chats fail here for ${OUTAGE / 1000} s.\n`);
  });
  return { url: newapi.url, key: DEMO_KEY, close: () => newapi.close() };
}

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo upstream</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
  code, pre, output { font: 0.9rem/1.5 ui-monospace, monospace; }
  pre, output { display: block; padding: 0.75rem; border: 1px solid; border-radius: 0.4rem; }
  pre, output { white-space: pre-wrap; overflow-wrap: anywhere; }
  form { display: flex; gap: 0.5rem; margin: 1rem 0; }
  input { flex: 1; padding: 0.5rem; font: inherit; }
  button { padding: 0.5rem 1rem; font: inherit; }
</style>
</head>
<body>
<h1>Demo upstream</h1>
<p>This page comes from a small stand-in for NewAPI. If the address bar shows the gate's port, it came through the gate,
as the answers below do. The stand-in repeats what it is told.</p>
<form><input name="text" value="Tell me who is at the gate." aria-label="Message"><button>Send</button></form>
<output aria-live="polite">The answer appears here, word by word.</output>
<h2>From a terminal</h2>
<pre id="curl"></pre>
<script type="module" src="/assets/app.js"></script>
</body>
</html>
`;

const SCRIPT = `const key = '${DEMO_KEY}';
const output = document.querySelector('output');
const headers = { Authorization: 'Bearer ' + key, 'Content-Type': 'application/json' };

document.querySelector('#curl').textContent =
  'curl -N ' + location.origin + '/v1/chat/completions \\\\\\n' +
  "  -H 'Authorization: Bearer " + key + "' \\\\\\n" +
  "  -H 'Content-Type: application/json' \\\\\\n" +
  '  -d \\'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello"}]}\\'';

document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const content = new FormData(event.target).get('text');
  const body = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content }] });
  output.textContent = '';
  try {
    const answer = await fetch('/v1/chat/completions', { method: 'POST', headers, body });
    if (!answer.ok) return void (output.textContent = answer.status + ' ' + (await answer.text()));
    let rest = '';
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const frames = (rest + part.value).split('\\n\\n');
      rest = frames.pop();
      for (const frame of frames) show(frame);
    }
  } catch (error) {
    output.textContent = String(error);
  }
});

function show(frame) {
  if (!frame.startsWith('data: {')) return;
  output.textContent += JSON.parse(frame.slice(6)).choices[0]?.delta.content ?? '';
}
`;
