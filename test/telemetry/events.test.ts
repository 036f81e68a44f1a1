import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import { eventLog, events } from '../../lib/telemetry/events.ts';

const root = new URL('../..', import.meta.url).pathname;

function lines(level: 'info' | 'error', write: (log: ReturnType<typeof eventLog>) => void): Record<string, unknown>[] {
  const written: string[] = [];
  const { logging } = resolveConfig({ logging: { level } });
  write(eventLog(logging, true, { write: (line: string) => void written.push(line) }));
  return written.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('the event log', () => {
  it('speaks the Elastic Common Schema', () => {
    const [line, ...more] = lines('info', (log) => log.warn({ requestId: 'r', ip: '192.0.2.1', token: 'id', reason: 'unknown' }, 'auth.failed'));
    const { '@timestamp': at, ...rest } = line ?? {};
    assert.match(String(at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(rest, {
      'log.level': 'warn', message: 'auth.failed', 'ecs.version': '8.17.0', 'service.name': 'heimdall',
      'event.kind': 'event', 'event.action': 'auth.failed', 'event.category': ['authentication'], 'event.type': ['denied'], 'event.outcome': 'failure',
      'http.request.id': 'r', 'source.ip': '192.0.2.1', heimdall: { token: 'id', reason: 'unknown' },
    });
    assert.deepEqual(more, []);
  });

  it('puts errors where the schema has them, and keeps its level', () => {
    const said = lines('error', (log) => {
      log.info({}, 'redis.back');
      log.debug({}, 'redis.back');
      log.error({ error: { name: 'Error', message: 'no', code: 'ECONNREFUSED' } }, 'redis.lost');
    });
    assert.deepEqual(said.map((line) => [line['event.action'], line['error.type'], line['error.message'], line['error.code'], line['heimdall']]), [['redis.lost', 'Error', 'no', 'ECONNREFUSED', undefined]]);
  });

  it('names exactly the events that lib says', () => {
    const said = new Set([...['up', 'resting', 'open', 'probing'].map((state) => `target.${state}`), ...['healthy', 'degraded', 'unhealthy'].map((state) => `route.${state}`)]);
    for (const file of globSync('lib/**/*.ts', { cwd: root }).filter((path) => !path.startsWith('lib/config/'))) {
      const text = readFileSync(`${root}/${file}`, 'utf8');
      for (const [, name = ''] of text.matchAll(/,\s*'([a-z_]+\.[a-z_]+)'\)/g)) if (/\blog\b|\blistener\b/.test(text) && !name.startsWith('server.')) said.add(name);
    }
    assert.deepEqual([...said].sort(), Object.keys(events).sort());
  });
});
