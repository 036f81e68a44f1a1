import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { createSecureContext, type SecureContext, type SecureContextOptions, type TlsOptions } from 'node:tls';
import type { TlsConfig } from '../../types/config.d.ts';
import type { Timer } from '../../types/clock.d.ts';
import type { Core } from '../request/request.ts';
import { codeOf, guard } from '../platform/platform.ts';

const day = 86_400_000;
/** How often the files are looked at, milliseconds. A change counts once two looks have seen the same. */
const lookEvery = 300;

/** The certificate that a server serves. The files are read again when they change; the connections that are open stay. */
export class ServedCertificate {
  readonly #core: Core;
  readonly #config: TlsConfig;
  #server: SecureServer | null = null;
  #pair: SecureContextOptions;
  #context: SecureContext;
  /** The files that were read last, as the file system tells them apart, and those that the last look has seen. */
  #read: string;
  #seen: string;
  /** When its validity begins and ends, Unix milliseconds. */
  #begins = 0;
  ends = 0;

  /** @throws when the certificate or its key cannot be used. */
  constructor(core: Core, config: TlsConfig) {
    this.#core = core;
    this.#config = config;
    this.#read = this.#seen = this.#files();
    this.#pair = this.#readPair();
    this.#context = createSecureContext(this.#pair);
    this.#take();
  }

  get path(): string {
    return this.#config.certPath;
  }

  /**
   * Options of the server. With `server_name` a client that asks for another name is refused during the handshake (RFC 6066 §3);
   * one that names none is served.
   */
  get options(): TlsOptions {
    const { serverName } = this.#config;
    if (serverName === null) return this.#pair;
    return { ...this.#pair, SNICallback: (name, done) => (name.toLowerCase() === serverName.toLowerCase() ? done(null, this.#context) : done(new Error('unrecognized_name'))) };
  }

  /** Keeps a server's certificate up to date until it closes. */
  follow(server: Server): void {
    this.#server = server as SecureServer;
    const timer = setInterval(guard(this.#core.log, 'certificate', () => this.#look()), lookEvery).unref();
    server.once('close', () => clearInterval(timer));
  }

  /** Logs once a day that the last third of its validity has begun, until the server closes. */
  warn(server: Server): void {
    const { clock, log } = this.#core;
    let timer: Timer;
    const look = (): void => {
      if (this.ends - clock.now() < (this.ends - this.#begins) / 3) log.warn({ certificate: this.path, ends: new Date(this.ends).toISOString() }, 'certificate.expiring');
      timer = clock.setTimeout(look, day);
      timer.unref();
    };
    look();
    server.once('close', () => clock.clearTimeout(timer));
  }

  /** Reads the files now. One that cannot be used changes nothing and is told of. */
  renew(): void {
    this.#read = this.#seen = this.#files();
    try {
      const pair = this.#readPair();
      const context = createSecureContext(pair);
      const { validToDate } = new X509Certificate(pair.cert as Buffer);
      if (validToDate.getTime() <= this.#core.clock.now()) return this.#refuse(`it expired at ${validToDate.toISOString()}`);
      this.#server?.setSecureContext(pair);
      this.#pair = pair;
      this.#context = context;
    } catch (error) {
      const code = codeOf(error);
      return this.#refuse(code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' ? 'the key belongs to another certificate' : code);
    }
    this.#take();
    this.#core.log.info({ certificate: this.path, ends: new Date(this.ends).toISOString() }, 'certificate.renewed');
  }

  #look(): void {
    const files = this.#files();
    const isSettled = files === this.#seen;
    this.#seen = files;
    if (isSettled && files !== this.#read) this.renew();
  }

  #refuse(reason: string): void {
    this.#core.log.error({ certificate: this.path, reason, effect: 'it is not used: the one before is served on' }, 'certificate.refused');
  }

  #take(): void {
    const { validFromDate, validToDate } = new X509Certificate(this.#pair.cert as Buffer);
    this.#begins = validFromDate.getTime();
    this.ends = validToDate.getTime();
  }

  #readPair(): SecureContextOptions {
    const { certPath, keyPath, minVersion } = this.#config;
    return { cert: readFileSync(certPath), key: readFileSync(keyPath), minVersion: `TLSv${minVersion}` as const };
  }

  /** Follows symbolic links: certbot and Kubernetes exchange those, and leave the files as they are. */
  #files(): string {
    const { certPath, keyPath } = this.#config;
    return [certPath, keyPath].map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? 'none' : `${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`;
    }).join(', ');
  }
}
