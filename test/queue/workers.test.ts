import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Crew, Link, own, shared, sharedCountsMemory } from '../../lib/platform/platform.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { desk } from './fake.ts';

/** What the threads have said to each other is heard. */
async function said(): Promise<void> {
  for (let nth = 0; nth < 10; nth++) await new Promise((resolve) => setImmediate(resolve));
}

/** The admission of a main thread and of two workers, without the threads. */
function threads(queue: ConfigInput['queue'], rest: ConfigInput = {}) {
  const counts = new Int32Array(shared.perWorker + 2 * own.size);
  const peers = sharedCountsMemory(2);
  const crew = new Crew(2, counts, peers);
  const main = desk(queue, { crew }, rest);
  const workers = [0, 1].map((place) => {
    const its = new Crew(2, counts, peers);
    const here: Link = new Link(place, { postMessage: (messages: never) => its.main?.take(structuredClone(messages)) }, (topic, value) => crew.hear(topic, value, here), main.log);
    const there = new Link(place, { postMessage: (messages: never) => here.take(structuredClone(messages)) }, (topic, value) => its.hear(topic, value, null), main.log);
    its.main = there;
    crew.join(here);
    return { ...desk(queue, { crew: its }, rest), link: there, leave: () => crew.leave(here) };
  });
  return { main, workers: workers as [(typeof workers)[0], (typeof workers)[0]] };
}

it('the question of a client that leaves while it waits is answered', async (t) => {
  const { main, workers: [one, other] } = threads({ concurrency: 1 });
  const first = one.arrive('a');
  const questions: Promise<unknown>[] = [];
  const { ask } = other.link;
  t.mock.method(other.link, 'ask', (...asked: Parameters<Link['ask']>) => {
    const answer = ask.apply(other.link, asked);
    questions.push(answer);
    return answer;
  });
  const gone = other.arrive('b');
  await said();
  assert.deepEqual([first.state, gone.state, main.queue.view().waiting], ['running', 'waiting', 1]);
  Object.assign(gone.context, { finished: true });
  gone.end();
  await said();
  assert.deepEqual([questions.length, await Promise.race([questions[0]?.then(() => 'answered'), said().then(() => 'kept')])], [1, 'answered']);
  assert.deepEqual([gone.state, main.queue.view().waiting, main.queue.view().active], ['over', 0, 1]);
});

it('bytes of bodies are bounded over all threads, and free when one has ended', () => {
  const { workers: [one, other] } = threads({}, { server: { maxInflightBytes: '8KB' } });
  const take = (at: typeof one, caller: string, bytes: number): string | undefined => {
    const asked = at.arrive(caller);
    at.bodies.take(asked.context, bytes);
    return asked.error?.code;
  };
  for (let nth = 0; nth < 7; nth++) assert.equal(take(one, `caller ${nth}`, 1024), undefined);
  assert.equal(take(other, 'a', 1000), undefined);
  assert.deepEqual([take(other, 'b', 25), take(one, 'c', 1)], ['overloaded', 'overloaded']);
  one.leave();
  assert.equal(take(other, 'b', 25), undefined);
});
