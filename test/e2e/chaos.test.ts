import assert from 'node:assert/strict';
import { before, describe, it, after } from 'node:test';
import { closing, request, sse, until, type LiveStream } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startProvider, type Cut, type Provider } from '../support/provider.ts';
import { bearer, CALLER, chat, OWN } from '../support/scene.ts';

const body = { ...chat, messages: [{ role: 'user', content: 'a b' }], stream: true };

interface Table {
  cases: number;
  failures: number;
  duplicates: number;
  billedTwice: number;
  unmarked: number;
}

/** What a client would call its answer: the contents of the whole events it was sent, in order. */
const contents = (stream: LiveStream): string =>
  stream.events.filter(({ data }) => data?.startsWith('{"id"') && data.endsWith('}]}')).map(({ data }) => (JSON.parse(String(data)) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? '').join('');

describe('an upstream that dies at every byte of its answer', () => {
  const things: (() => unknown)[] = [];
  const scope = { after: (run: () => unknown) => void things.push(run) };
  let primary: Provider;
  let backup: Provider;
  let gate: RunningGate;
  /** In bytes of the right answer: where its first event is complete, and the end of each. */
  let commit = 0;
  let ends: number[] = [];

  before(async () => {
    primary = closing(scope, await startProvider({ name: 'primary' }));
    backup = closing(scope, await startProvider({ name: 'backup', key: OWN }));
    gate = await startGate(scope, {
      newapi: { baseUrl: primary.url },
      circuitBreaker: { failureThreshold: 1000 },
      llm: { backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN }], retry: { retryableErrors: ['rate_limit', 'server_error', 'timeout'] } },
    });
    const direct = await sse(`${primary.url}/v1/chat/completions`, { body, headers: bearer(CALLER) });
    // Status line and head as sent, then a chunk for each event.
    let at = `HTTP/1.1 200 OK\r\n${direct.rawHeaders.map((text, n) => (n % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('')}\r\n`.length;
    ends = direct.text.split(/(?<=\n\n)/).map((frame) => (at += frame.length.toString(16).length + 2 + frame.length + 2));
    // The first event is complete with its last line feed; the end of its chunk says nothing more.
    commit = (ends[0] as number) - 2;
    assert.equal((await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(CALLER) })).status, 200);
  });

  after(async () => {
    for (const run of things.reverse()) await run();
  });

  async function kill(byte: number, by: Cut, table: Table): Promise<LiveStream> {
    const asked = [primary.calls.length, backup.calls.length] as const;
    await primary.script([{ kind: 'kill_at', byte, by }]);
    const stream = await sse(`${gate.url}/v1/chat/completions`, { body, headers: bearer(CALLER) });
    table.cases++;
    const done = stream.events.filter(({ data }) => data === '[DONE]').length;
    const served = [primary.calls.length - asked[0], backup.calls.length - asked[1]] as const;
    if (byte < commit) {
      if (stream.status !== 200 || !stream.complete || done !== 1 || stream.text.includes('"error"')) table.failures++;
      if (contents(stream).trim() !== 'a b' || new Set(stream.text.match(/"model":"\w+/g)).size !== 1) table.duplicates++;
      if (served[0] + served[1] > 2) table.billedTwice++;
    } else {
      if (!'a b'.startsWith(contents(stream).trim())) table.duplicates++;
      if (served[1] > 0 || served[0] !== 1) table.billedTwice++;
    }
    return stream;
  }

  const clean = { failures: 0, duplicates: 0, billedTwice: 0, unmarked: 0 };
  const empty = (): Table => ({ cases: 0, ...clean });

  for (const by of ['fin', 'rst'] as const) {
    it(`is invisible before the first event is out, by ${by}`, async () => {
      const table = empty();
      for (let byte = 0; byte < commit; byte++) await kill(byte, by, table);
      assert.deepEqual(table, { cases: commit, ...clean });
    });

    it(`ends the stream with an error after each event that is, by ${by}`, async () => {
      const table = empty();
      // Behind [DONE] there is nothing left to lose.
      const places = ends.slice(0, -1).flatMap((end) => [end - 2, end, end + 10]);
      for (const byte of places) {
        const stream = await kill(byte, by, table);
        if (!stream.complete || stream.text.includes('[DONE]') || !stream.events.at(-1)?.data?.includes('upstream_interrupted')) table.unmarked++;
      }
      assert.deepEqual(table, { cases: places.length, ...clean });
    });
  }

  it('leaves no socket, no request and no place behind', async () => {
    await until(() => primary.calls.every(({ finished, aborted }) => finished || aborted));
    assert.ok(backup.open <= 1, `${backup.open} connections to the backup`);
    await until(() => primary.open <= 1, 2000, 'no connection to a dead primary');
    await gate.gate.close({ timeout: 2000 });
    await until(() => primary.open + backup.open === 0, 2000, 'every connection closed');
    assert.deepEqual(gate.log.named('drain.cut'), []);
  });
});
