import './node.ts';
import cluster from 'node:cluster';
import { heimdall } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';

/**
 * A process that records and tells what becomes of it, one JSON line each. Arguments: the journal, the name of its records, how many
 * of them, and `stay` to go on until it is killed, `workers` to do it in two workers of a cluster, or `strict`.
 */
const [, , path = '', name = '', count = '0', ...ways] = process.argv;

/** The gate reads no environment when it is given a configuration. */
const { HEIMDALL_SECRET: secret } = process.env;

async function record(as: string): Promise<void> {
  const gate = heimdall({ ...(secret !== undefined && { secret }), audit: { path, durability: ways.includes('strict') ? 'strict' : 'batched' }, logging: { level: 'silent', file: false }, llm: { healthCheck: { enabled: false } } }, {
    log: { debug: () => undefined, info: () => undefined, warn: told, error: told },
  });
  const { journal } = internalsOf(gate);
  await journal.open();
  for (let at = 0; at < Number(count); at++) await journal.append([{ request_id: `${as}-${at}`, time: Date.now(), request_method: 'GET', request_path: `/${as}`, real_ip: '192.0.2.1', response_status: 200, response_time: 1, source: 'test' }]);
  const { state, written } = journal.stats();
  process.stdout.write(`${JSON.stringify({ state: state.kind, written })}\n`);
  if (ways.includes('stay')) return void setInterval(() => undefined, 1000);
  await gate.close();
  cluster.worker?.disconnect();
}

function told(fields: object, event: string): void {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

if (ways.includes('workers') && cluster.isPrimary) for (let at = 0; at < 2; at++) cluster.fork();
else await record(cluster.worker === undefined ? name : `${name}${cluster.worker.id}`);
