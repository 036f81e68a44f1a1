// Brings the rows of the original's table `heimdall_logs` into the journal of a running gate, by POST /api/log.
// node import.mjs one-api.db http://localhost:8000    (HEIMDALL_INGEST_TOKEN in the environment)
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';

const [file, gate = 'http://localhost:8000'] = process.argv.slice(2);
const token = process.env.HEIMDALL_INGEST_TOKEN ?? '';
if (file === undefined || token === '') {
  console.error('usage: HEIMDALL_INGEST_TOKEN=… node import.mjs DATABASE [GATE]');
  process.exit(2);
}

/** What the original sent; a database of an older build may lack a column. */
const wanted = ['token_key', 'user_id', 'request_path', 'request_method', 'real_ip', 'forwarded_for', 'user_agent', 'request_headers', 'request_body', 'content_fingerprint', 'device_fingerprint', 'cookies', 'response_status', 'response_time', 'timestamp'];

const db = new DatabaseSync(file, { readOnly: true });
const there = new Set(db.prepare('PRAGMA table_info(heimdall_logs)').all().map(({ name }) => name));
const columns = wanted.filter((name) => there.has(name));
/** The gate takes records of the last 30 days, as long as it keeps them; a minute is left for the way. */
const since = Math.floor(Date.now() / 1000) - 30 * 86_400 + 60;
const { total } = db.prepare('SELECT count(*) AS total FROM heimdall_logs WHERE timestamp >= ?').get(since);
let sent = 0;
let shown = -1;
for (const row of db.prepare(`SELECT ${columns.join(', ')} FROM heimdall_logs WHERE timestamp >= ? ORDER BY id`).iterate(since)) {
  await send(JSON.stringify(row));
  sent += 1;
  show(Math.floor((100 * sent) / total));
}
if (shown >= 0) process.stderr.write(`\r${' '.repeat(38)}\r`);
const { older } = db.prepare('SELECT count(*) AS older FROM heimdall_logs WHERE timestamp < ?').get(since);
console.log(`${sent} records sent to ${gate}${older > 0 ? `, ${older} older ones left out` : ''}`);

/** Draws how much is sent, where a terminal shows it. */
function show(percent) {
  if (!process.stderr.isTTY || percent === shown) return;
  shown = percent;
  process.stderr.write(`\r[${'='.repeat(Math.floor(percent * 0.3)).padEnd(30)}] ${percent}%`);
}

/** Waits where the gate asks for patience (audit.ingest.max_rate). */
async function send(body) {
  for (;;) {
    const answer = await fetch(`${gate}/api/log`, { method: 'POST', headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, body });
    if (answer.ok) return;
    if (answer.status !== 429) throw new Error(`${answer.status} ${await answer.text()}`);
    await pause(1000 * Number(answer.headers.get('retry-after') ?? 1));
  }
}
