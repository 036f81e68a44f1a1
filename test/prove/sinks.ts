import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import { until, type TestLike } from '../support/client.ts';
import { Hunt } from '../support/hunt.ts';
import { sql } from '../support/journal.ts';
import { startNewapi, type Newapi } from '../support/newapi.ts';
import { startPostgres, withoutPostgres, type TestPostgres } from '../support/postgres.ts';
import { startGateProcess, type GateProcess } from '../support/processes.ts';
import { startReceiver, type Manner } from '../support/receiver.ts';
import type { Finding } from './proof.ts';

const clients = 10;

interface Row {
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  readonly holds: string;
}

const row = (what: string, expected: string, found: string | number, holds: boolean): Row => ({ what, expected, found: String(found), holds: holds ? 'yes' : 'NO' });

/** What a proof leaves behind goes with it. */
class Scope implements TestLike {
  readonly #ends: (() => unknown)[] = [];

  after(end: () => unknown): void {
    this.#ends.push(end);
  }

  directory(): string {
    const path = mkdtempSync(join(tmpdir(), 'heimdall-prove-'));
    this.after(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  async end(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
  }
}

/** A gate that is killed and started again in one directory, and what it has recorded. */
class Site {
  readonly directory: string;
  readonly #scope: Scope;
  readonly #env: Readonly<Record<string, string>>;
  #gate: GateProcess | null = null;
  #pool: Pool | null = null;
  #asked = 0;

  constructor(scope: Scope, newapi: Newapi, yaml: string, env: Readonly<Record<string, string>> = {}) {
    this.#scope = scope;
    this.directory = scope.directory();
    writeFileSync(join(this.directory, 'heimdall.yaml'), `logging: { file: false, level: warn }\n${yaml}`, { mode: 0o600 });
    this.#env = { NEWAPI_BASE_URL: newapi.url, HEIMDALL_CONFIG: 'heimdall.yaml', ...env };
  }

  async start(): Promise<void> {
    this.#gate = await startGateProcess(this.#scope, this.directory, this.#env);
    this.#pool = new Pool(this.#gate.url, { connections: clients });
  }

  /** Without a word, as a crash. */
  async kill(): Promise<void> {
    await this.#gate?.kill();
    await this.#pool?.destroy().catch(() => undefined);
  }

  /** So many requests by so many clients, each with a path of its own; those of a gate that is killed come to nothing. */
  async ask(count: number, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    let left = count;
    const client = async (): Promise<void> => {
      while (left-- > 0) {
        const answer = await this.#pool?.request({ path: `/asked/${this.#asked++}`, method: 'GET', headers }).catch(() => undefined);
        if (answer === undefined) await pause(20);
        else await answer.body.dump().catch(() => undefined);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  /** A column of the journal, in its order. */
  journal(column: 'request_path' | 'request_id'): string[] {
    return sql(join(this.directory, 'data/heimdall.db'), `SELECT ${column} FROM heimdall_logs ORDER BY id`).map((each) => String(each[column]));
  }
}

/** Down for the first run and over two crashes, then up, limited, wrong in every way, with crashes in between. */
async function newapiSink(scope: Scope, newapi: Newapi): Promise<Row[]> {
  const receiver = await startReceiver({ limit: 180, window: 1800 });
  scope.after(() => receiver.close());
  const site = new Site(scope, newapi, `audit: { newapi: { enabled: true, url: "${receiver.url}", max_rate: 80/s } }`);
  await receiver.stop();
  for (let run = 0; run < 2; run++) {
    await site.start();
    await site.ask(300);
    await pause(200);
    await site.kill();
  }
  const before = receiver.taken.length;
  await receiver.start();
  await site.start();
  let over = false;
  const load = (async () => {
    while (!over) {
      await site.ask(5);
      await pause(150);
    }
  })();
  await pause(2000);
  let crashes = 2;
  for (const manner of ['limited', 'page', 'unsuccessful', 'broken', 'limited with a word', 'redirect', 'silent'] as const satisfies readonly Manner[]) {
    receiver.manner = manner;
    await pause(1500);
    if (manner === 'page' || manner === 'broken') crashes += await crash(site);
    receiver.manner = 'well';
    await pause(2500);
    if (manner === 'limited' || manner === 'silent' || manner === 'redirect') crashes += await crash(site);
  }
  over = true;
  await load;
  const last = (): string | undefined => site.journal('request_path').at(-1);
  await until(() => receiver.taken.at(-1)?.['request_path'] === last(), 'the receiver has everything');
  await site.kill();
  return judged(receiver.taken.map(({ request_path: path }) => String(path)), site.journal('request_path'), crashes, before, receiver.calls.filter(({ status }) => status === 429).length);
}

async function crash(site: Site): Promise<1> {
  await site.kill();
  await site.start();
  return 1;
}

function judged(taken: readonly string[], written: readonly string[], crashes: number, before: number, limited: number): Row[] {
  const inOrder = taken.filter((path, at) => path !== taken[at - 1]);
  const repeated = taken.length - new Set(taken).size;
  const missing = written.filter((path) => !taken.includes(path)).length;
  return [
    row('NewAPI: taken while the receiver was down', '0', before, before === 0),
    row(`NewAPI: records of the journal it has, through ${crashes} crashes`, `${written.length}, at least once`, `${written.length - missing}`, missing === 0),
    row('NewAPI: in the journal\'s order', 'yes', inOrder.join() === written.join() ? 'yes' : 'no', inOrder.join() === written.join()),
    row('NewAPI: records it got twice', `at most ${crashes}`, repeated, repeated <= crashes),
    row('NewAPI: calls beyond its limit of 180 in 1.8 s', 'those of the two times it was made to answer so', limited, limited > 0 && limited < 60),
  ];
}

/** Two gates and one table; PostgreSQL is stopped and started under load, and a gate is killed. */
async function postgresSink(scope: Scope, newapi: Newapi, server: TestPostgres): Promise<Row[]> {
  const hunt = new Hunt();
  const [token, install] = [hunt.make('token'), hunt.make('install secret', '')];
  hunt.add('password', new URL(server.url).password);
  const env = { DATABASE_URL: server.url, HEIMDALL_SECRET: install };
  const sites = [new Site(scope, newapi, '', env), new Site(scope, newapi, '', env)];
  for (const site of sites) await site.start();
  let over = false;
  const headers = { authorization: `Bearer ${token}`, cookie: `session=${token}`, referer: `https://x/?key=${token}` };
  const loads = sites.map(async (site) => {
    while (!over) await site.ask(200, headers);
  });
  for (let outage = 0; outage < 4; outage++) {
    await pause(1500);
    await server.stop();
    await pause(1500);
    if (outage === 2) await (sites[0] as Site).kill();
    await server.start();
    if (outage === 2) await (sites[0] as Site).start();
  }
  server.freeze();
  await pause(3000);
  server.thaw();
  over = true;
  await Promise.all(loads);
  await pause(500);
  const written = sites.flatMap((site) => site.journal('request_id'));
  const count = async (): Promise<number> => (await server.query<{ count: string }>('SELECT count(*) AS count FROM heimdall_logs')).map(({ count: text }) => Number(text))[0] ?? 0;
  await until(async () => (await count()) >= written.length, 'PostgreSQL has everything');
  for (const site of sites) await site.kill();
  const kept = (await server.query<{ request_id: string }>('SELECT request_id FROM heimdall_logs')).map(({ request_id: id }) => id);
  // In more than this, eight hexadecimal digits of a hash are those of a secret by chance.
  const dump = JSON.stringify(await server.query('SELECT * FROM heimdall_logs ORDER BY request_id LIMIT 3000'));
  const known = new Set(kept);
  const missing = written.filter((id) => !known.has(id)).length;
  const finds = hunt.search([['PostgreSQL', dump]]);
  return [
    row('PostgreSQL: records of two gates, four stops, a freeze and a crash', `${written.length}, each once`, `${kept.length}, ${known.size} of them different, ${missing} missing`, missing === 0 && kept.length === known.size && kept.length === written.length),
    row('PostgreSQL: secrets in the first 3000 of them', '0', finds.map(({ excerpt }) => excerpt).join() || '0', finds.length === 0),
  ];
}

/** NewAPI's receiver and PostgreSQL, each through everything that may happen to it. */
export async function sinks(): Promise<Finding> {
  if (withoutPostgres) throw new Error(withoutPostgres);
  const scope = new Scope();
  const newapi = await startNewapi({ record: false });
  scope.after(() => newapi.close());
  const server = await startPostgres();
  scope.after(() => server.close());
  try {
    const rows = [...(await newapiSink(scope, newapi)), ...(await postgresSink(scope, newapi, server))];
    return { rows: rows.map((each) => ({ ...each })), bar: 'every line holds', holds: rows.every(({ holds }) => holds === 'yes') };
  } finally {
    await scope.end();
  }
}
