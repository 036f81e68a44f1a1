import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestLike } from './client.ts';
import { temporary } from './gate.ts';

/** Why tests that make certificates are skipped, or false. */
export const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

/** A certificate and its key, as paths and as PEM. */
export interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of one test. */
export interface Authority {
  readonly caPath: string;
  readonly ca: string;
  /** @param names subject alternative names, for example `DNS:localhost` or `IP:127.0.0.1`. */
  issue(...names: string[]): Certificate;
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a certificate authority; its files end with the test. */
export function authority(t: TestLike): Authority {
  const at = temporary(t);
  const [caPath, caKeyPath] = [join(at, 'ca.crt'), join(at, 'ca.key')];
  openssl('req', '-x509', ...curve, '-days', '30', '-subj', '/CN=a test authority', '-keyout', caKeyPath, '-out', caPath);
  let issued = 0;
  return {
    caPath,
    ca: readFileSync(caPath, 'utf8'),
    issue(...names) {
      const base = join(at, String(issued++));
      const [certPath, keyPath, requestPath, extensions] = [`${base}.crt`, `${base}.key`, `${base}.csr`, `${base}.ext`];
      writeFileSync(extensions, `subjectAltName=${names.join(',')}\n`);
      openssl('req', ...curve, '-subj', '/CN=test', '-keyout', keyPath, '-out', requestPath);
      openssl('x509', '-req', '-in', requestPath, '-CA', caPath, '-CAkey', caKeyPath, '-CAcreateserial', '-days', '30', '-extfile', extensions, '-out', certPath);
      return { certPath, keyPath, cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8') };
    },
  };
}

function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync('openssl', args);
  assert.equal(status, 0, stderr.toString());
}
