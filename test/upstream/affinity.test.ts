import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RequestBody } from '../../lib/http/http.ts';
import type { Context } from '../../lib/request/context.ts';
import { Affinity } from '../../lib/upstream/affinity.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import type { Target } from '../../lib/upstream/targets.ts';

const one = { name: 'one' } as Target;
const two = { name: 'two' } as Target;
const all = [one, two];

const asking = (body: string | null, path = '/v1/responses'): Context => ({ route: routeOf('POST', path), body: body === null ? null : RequestBody.of(Buffer.from(body)) }) as unknown as Context;

describe('affinity', () => {
  it('keeps a conversation at the target that gave its last response, JSON or stream', () => {
    const affinity = new Affinity();
    affinity.remember(asking(''), two, Buffer.from('{"id": "resp_abc-1","object":"response"}'));
    affinity.remember(asking(''), two, Buffer.from('event: response.created\ndata: {"type":"response.created","response":{"id":"resp_def"}}\n\n'));
    for (const id of ['resp_abc-1', 'resp_def']) assert.deepEqual(affinity.narrow(asking(`{"model":"m","previous_response_id" : "${id}"}`), all), [two], id);
  });

  it('sends a conversation nobody remembers to the first target alone', () => {
    assert.deepEqual(new Affinity().narrow(asking('{"previous_response_id":"resp_unknown"}'), all), [one]);
  });

  it('leaves every other request its choice', () => {
    const affinity = new Affinity();
    affinity.remember(asking('', '/v1/chat/completions'), two, Buffer.from('{"id":"resp_abc"}'));
    for (const context of [
      asking('{"model":"m"}'),
      asking(null),
      asking('{"previous_response_id":null}'),
      asking('{"previous_response_id":"resp_abc"}', '/v1/chat/completions'),
      asking(JSON.stringify({ input: 'say "previous_response_id": "resp_abc"' })),
    ]) assert.deepEqual(affinity.narrow(context, all), all);
    assert.deepEqual(affinity.narrow(asking('{"previous_response_id":"resp_abc"}'), all), [one]);
  });
});
