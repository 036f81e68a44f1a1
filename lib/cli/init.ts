import { randomBytes } from 'node:crypto';
import { lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { json, printJson, textOf, type Action } from './command.ts';

const usual = 'http://localhost:3000';

/** The command `init`: writes a configuration to start from, and its secrets, into the working directory. */
export const init: Action = {
  options: {
    newapi: { type: 'string', value: 'URL', summary: `base URL of NewAPI (default: ${usual}; asked for at a terminal)` },
    force: { type: 'boolean', summary: 'overwrite files that are there' },
    json,
  },
  examples: ['heimdall init --newapi http://newapi:3000'],
  run: async (invocation) => {
    const { output, values } = invocation;
    const { checkText } = await import('../config/config.ts');
    const yaml = settings(textOf(invocation, 'newapi') ?? (await askedFor()));
    const { problems } = checkText(yaml);
    if (problems.length > 0) throw new Error(problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
    const files = [['heimdall.yaml', yaml, 0o644], ['.env', secrets(), 0o600]] as const;
    const there = files.map(([name]) => name).filter((name) => lstatSync(name, { throwIfNoEntry: false }) !== undefined);
    if (there.length > 0 && values['force'] !== true) throw new Error(`${there.join(', ')}: expected no such file in this directory, got one. Example: heimdall init --force, which overwrites it`);
    for (const [name, text, mode] of files) {
      rmSync(`${name}.tmp`, { force: true });
      writeFileSync(`${name}.tmp`, text, { mode, flag: 'wx' });
      renameSync(`${name}.tmp`, name);
      if (!values['json']) output.out(`wrote ${name}\n`, 'green');
    }
    if (values['json']) printJson(invocation, { files: files.map(([name]) => name) });
    else output.out('Next: npx express-heimdall check, then npx express-heimdall start. The tokens of the admin API and of the metrics are in .env.\n');
    return 0;
  },
};

/** Asks on a terminal; elsewhere it takes the usual. */
async function askedFor(): Promise<string> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return usual;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`Base URL of NewAPI [${usual}]: `);
  terminal.close();
  return answer.trim() || usual;
}

const token = (): string => randomBytes(32).toString('base64url');

const secrets = (): string => `# Secrets of the gate. Read from the working directory; variables of the process come first.
HEIMDALL_CONFIG=heimdall.yaml
# Bearer tokens of the admin API and page, and of /metrics.
HEIMDALL_ADMIN_TOKEN=${token()}
HEIMDALL_METRICS_TOKEN=${token()}
`;

const settings = (newapi: string): string => `# The configuration of Heimdall. What is left out has its default; \`npx express-heimdall check\` shows what is in force.
# \${NAME} reads a variable of the environment, which .env sets too. \`npx express-heimdall reload\` has a running gate read this file again.

# observe decides and records, and refuses nothing: for a first day in front of real users.
mode: enforce

newapi:
  base_url: ${JSON.stringify(newapi)}
  timeout: 300s # longest silence

server:
  host: 0.0.0.0
  port: 8000
  # Behind nginx, Caddy or Cloudflare leave it out.
  # tls: { cert_path: /certs/server.crt, key_path: /certs/server.key }
  shutdown_timeout: 30s # for streams to finish

# Peers whose forwarding headers name the client. Behind Cloudflare: [loopback, cloudflare], and client_ip_header.
trust_proxy: [loopback]
# client_ip_header: cf-connecting-ip

# Refused credentials that an address may send.
rate_limit:
  address: { limit: 60, window: 60s }

# Model requests at a time, and how long others wait.
queue:
  concurrency: 1000
  max_wait: 30s

# The journal: one record a request, without secrets.
audit:
  path: data/heimdall.db
  retention: { records: 30d, bodies: 7d }

logging:
  level: info
  file: heimdall.log

# HEIMDALL_METRICS_TOKEN opens /metrics, HEIMDALL_ADMIN_TOKEN the admin page and API on 127.0.0.1:8001; both stand in .env.
`;
