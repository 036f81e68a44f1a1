import { hkdfSync, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { isDeepStrictEqual } from 'node:util';
import { createSecureContext, type SecureContext, type SecureContextOptions, type TlsOptions, type TLSSocket } from 'node:tls';
import type { OtherTlsConfig, TlsConfig } from '../../types/config.d.ts';
import type { Timer } from '../../types/clock.d.ts';
import type { Prepared } from '../gateway.ts';
import type { Core } from '../request/request.ts';
import { codeOf, guard } from '../platform/platform.ts';
import { lookEvery, WatchedFiles } from './watched-files.ts';

const day = 86_400_000;
/** How long sessions are resumed by the same key, milliseconds, and its length. */
const ticketPeriod = day / 2;
const ticketKeyBytes = 48;

/** The certificates that a server serves. Their files are read again when they change; the connections that are open stay. */
export class ServedCertificates {
  readonly #core: Core;
  readonly #ca: Buffer | null;
  #server: SecureServer | null = null;
  readonly #ticketSecret: Uint8Array;
  #ticketsUntil = 0;
  all: readonly [ServedCertificate, ...ServedCertificate[]];

  /**
   * @param ca authorities whose certificates clients must show.
   * @throws when a certificate or its key cannot be used.
   */
  constructor(core: Core, config: TlsConfig, ca: Buffer | null = null) {
    this.#core = core;
    this.#ca = ca;
    // SECURITY: a session of another server, which asked for no certificate, must not be resumed where clients need one.
    this.#ticketSecret = ca === null && core.crew !== null ? core.crew.ticketSecret : randomBytes(32);
    this.all = this.#read(config);
  }

  /**
   * Options of the server. A client that asks for a name gets the certificate that answers to it, one that names none the first.
   * Where none answers, and the first is only for its `server_name`, the handshake is refused (RFC 6066 §3).
   */
  get options(): TlsOptions {
    const choose = (name: string, socket: TLSSocket): SecureContext => this.#choose(name, socket).context;
    return {
      ...this.#forNoName(),
      ...(this.#ca !== null && { requestCert: true, rejectUnauthorized: true }),
      // Node calls it as a method of the socket.
      SNICallback(this: unknown, name, done): void {
        try {
          done(null, choose(name.toLowerCase(), this as TLSSocket));
        } catch (error) {
          done(error as Error);
        }
      },
    };
  }

  /**
   * Reads the certificates of another configuration, which are served to new connections once they are entered. Those that it keeps
   * stay, and their files are read again then. @throws when a new one cannot be used.
   */
  prepare(config: TlsConfig): Prepared {
    const all = this.#read(config);
    return {
      enter: () => {
        const kept = all.filter((each) => this.all.includes(each));
        this.all = all;
        for (const each of kept) each.renew();
        this.#serve();
      },
    };
  }

  /** Keeps the certificates of a server up to date until it closes. */
  follow(server: Server): void {
    this.#server = server as SecureServer;
    const look = (): void => {
      for (const each of this.all) each.look();
      if (this.#core.clock.now() >= this.#ticketsUntil) this.#server?.setTicketKeys(this.#ticketKeys());
    };
    const timer = setInterval(guard(this.#core.log, 'certificate', look), lookEvery).unref();
    server.once('close', () => clearInterval(timer));
    // A client that names no host gets the first, whatever version the others allow.
    server.prependListener('secureConnection', guard(this.#core.log, 'certificate', (socket: TLSSocket) => {
      if (!socket.servername && this.all[0].isTooOld(socket)) socket.destroy();
    }));
  }

  /** Logs once a day which certificates are in the last third of their validity, until the server closes. */
  warn(server: Server): void {
    const { clock } = this.#core;
    let timer: Timer;
    const look = (): void => {
      for (const each of this.all) each.warn();
      timer = clock.setTimeout(look, day);
      timer.unref();
    };
    look();
    server.once('close', () => clock.clearTimeout(timer));
  }

  /** The pair for a client that speaks TLS 1.3 elsewhere. @param name the host that it asks for, or nothing. @returns null where it gets none. */
  pairFor(name: string): SecureContextOptions | null {
    const { config, pair } = (name === '' ? undefined : this.#for(name.toLowerCase())) ?? this.all[0];
    return config.serverName === null || name === '' || config.serverName === name.toLowerCase() ? pair : null;
  }

  #read(config: TlsConfig): readonly [ServedCertificate, ...ServedCertificate[]] {
    const { others, ...first } = config;
    const one = (entry: OtherTlsConfig): ServedCertificate => this.all?.find((each) => isDeepStrictEqual(each.config, entry)) ?? new ServedCertificate(this.#core, entry, this.#ca, () => this.#serve());
    return [one(first), ...others.map(one)];
  }

  #serve(): void {
    this.#server?.setSecureContext(this.#forNoName());
  }

  /** @throws for a client that gets none. */
  #choose(name: string, socket: TLSSocket): ServedCertificate {
    const chosen = this.#for(name) ?? this.all[0];
    const { serverName } = chosen.config;
    if (serverName !== null && serverName !== name) throw new Error('unrecognized_name');
    // The version is agreed on before the name is known.
    if (chosen.isTooOld(socket)) throw new Error('protocol_version');
    return chosen;
  }

  /** The certificate that answers to a name: by `server_name` before a name in it, and by a whole name before a wildcard. */
  #for(name: string): ServedCertificate | undefined {
    const open = this.all.filter(({ config }) => config.serverName === null);
    return this.all.find(({ config }) => config.serverName === name) ?? open.find((each) => each.names(name, false)) ?? open.find((each) => each.names(name, true));
  }

  /** The first, with the lowest version that one of them is served with. */
  #forNoName(): SecureContextOptions {
    const isOlder = this.all.some(({ config: { minVersion } }) => minVersion === '1.2');
    return { ...this.all[0].pair, minVersion: isOlder ? 'TLSv1.2' : 'TLSv1.3', ticketKeys: this.#ticketKeys() };
  }

  /** The same in all workers, and another one after some hours or with another certificate, which a resumed session would not show. */
  #ticketKeys(): Buffer {
    const period = Math.floor(this.#core.clock.now() / ticketPeriod);
    this.#ticketsUntil = (period + 1) * ticketPeriod;
    const served = Buffer.concat(this.all.map(({ pair }) => pair.cert as Buffer));
    return Buffer.from(hkdfSync('sha256', this.#ticketSecret, served, `tickets ${period}`, ticketKeyBytes));
  }
}

/** One certificate with its key. */
export class ServedCertificate {
  readonly config: OtherTlsConfig;
  readonly #core: Core;
  readonly #ca: Buffer | null;
  pair: SecureContextOptions;
  context: SecureContext;
  /** Called when another pair is served from now on. */
  readonly #onRenewed: () => void;
  readonly #files: WatchedFiles;
  /** Names, and when its validity begins and ends, Unix milliseconds. */
  #certificate: X509Certificate;
  ends: number;

  /** @throws when the certificate or its key cannot be used. */
  constructor(core: Core, config: OtherTlsConfig, ca: Buffer | null, onRenewed: () => void) {
    this.#core = core;
    this.#ca = ca;
    this.config = config;
    this.#onRenewed = onRenewed;
    this.#files = new WatchedFiles(() => [config.certPath, config.keyPath]);
    const { pair, context, certificate } = this.#first();
    this.pair = pair;
    this.context = context;
    this.#certificate = certificate;
    this.ends = certificate.validToDate.getTime();
    this.#share();
  }

  /** One that the other workers serve stays in use, whatever its files have become. */
  #first(): Opened {
    try {
      return opened(this.#readPair());
    } catch (error) {
      const inUse = this.#core.crew?.certificates.get(this.path);
      if (inUse === undefined) throw error;
      return opened({ ...this.#options(), cert: Buffer.from(inUse.cert), key: Buffer.from(inUse.key) });
    }
  }

  /** Tells what is in use. */
  #share(): void {
    const { crew } = this.#core;
    if (crew?.isWorker === true) crew.publish('certificate', [this.path, { cert: this.pair.cert as Buffer, key: this.pair.key as Buffer }]);
  }

  get path(): string {
    return this.config.certPath;
  }

  /** Whether a host is one of the names in the certificate. */
  names(host: string, wildcards: boolean): boolean {
    return this.#certificate.checkHost(host, { wildcards }) !== undefined;
  }

  /** Whether a connection has a version below the lowest for this certificate. */
  isTooOld(socket: TLSSocket | undefined): boolean {
    return this.config.minVersion === '1.3' && socket?.getProtocol() === 'TLSv1.2';
  }

  /** Whether the last third of its validity has begun, however long that is. */
  get isEnding(): boolean {
    return this.ends - this.#core.clock.now() < (this.ends - this.#certificate.validFromDate.getTime()) / 3;
  }

  /** Logs when it is ending. */
  warn(): void {
    if (this.isEnding) this.#core.log.warn({ certificate: this.path, ends: new Date(this.ends).toISOString() }, 'certificate.expiring');
  }

  /** Reads the files when they have changed and rest since the last look. */
  look(): void {
    if (this.#files.haveChanged()) this.renew();
  }

  /** Reads the files now. One that cannot be used changes nothing and is told of. */
  renew(): void {
    this.#files.taken();
    try {
      const pair = this.#readPair();
      if (isDeepStrictEqual(pair, this.pair)) return;
      const { context, certificate } = opened(pair);
      const ends = certificate.validToDate.getTime();
      if (ends <= this.#core.clock.now()) return this.#refuse(`it expired at ${certificate.validTo}`);
      Object.assign(this, { pair, context, ends });
      this.#certificate = certificate;
      this.#share();
      this.#onRenewed();
    } catch (error) {
      const code = codeOf(error);
      return this.#refuse(code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' ? 'the key belongs to another certificate' : code);
    }
    this.#core.log.info({ certificate: this.path, ends: new Date(this.ends).toISOString() }, 'certificate.renewed');
  }

  #refuse(reason: string): void {
    this.#core.log.error({ certificate: this.path, reason, effect: 'it is not used: the one before is served on' }, 'certificate.refused');
  }

  #readPair(): SecureContextOptions {
    const { certPath, keyPath } = this.config;
    return { cert: readFileSync(certPath), key: readFileSync(keyPath), ...this.#options() };
  }

  #options(): SecureContextOptions {
    return { minVersion: `TLSv${this.config.minVersion}` as const, ...(this.#ca !== null && { ca: this.#ca }) };
  }
}

/** A certificate and its key that fit together. */
interface Opened {
  readonly pair: SecureContextOptions;
  readonly context: SecureContext;
  readonly certificate: X509Certificate;
}

/** @throws when they do not. */
const opened = (pair: SecureContextOptions): Opened => ({ pair, context: createSecureContext(pair), certificate: new X509Certificate(pair.cert as Buffer) });
