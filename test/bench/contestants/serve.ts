import type http from 'node:http';
import type { AddressInfo } from 'node:net';
import { answer } from '../ipc.ts';

/** What every contestant of ours is started with. */
export interface Spec {
  /** Port of the stand-in API. */
  readonly upstream: number;
  /** Directory for its logs and data. */
  readonly dir: string;
  /** A port that refuses connections: the gate's first target in the failover suite. */
  readonly refused?: number;
  /** `audit.fingerprint`, where it is not the default. */
  readonly fingerprint?: string;
}

/** Listens on a free loopback port, tells it to the parent and answers its questions. */
export function serve(server: http.Server, close?: () => unknown): void {
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', 4096, () => {
    answer((server.address() as AddressInfo).port, {}, close);
  });
}
