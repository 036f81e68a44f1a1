import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '../../types/logger.d.ts';
import { type Crew, guard, SharedCounts } from '../platform/platform.ts';
import { AddressSet, networkOf, peerIn, remoteOf } from '../identity/identity.ts';

/** A peer with this many times its share of connections has further ones closed before they are read. */
const closedUnread = 2;

/**
 * Counts the open connections of each peer (IPv6 by its /56), whatever protocol they carry. Peers in `trust_proxy` carry many
 * clients and are not counted.
 */
export class Connections {
  readonly #limit: number;
  #trust: AddressSet;
  #closeUnread: boolean;
  readonly #watched = new WeakSet<Server>();
  readonly #open = new Map<string, number>();
  /** What all workers of the gate hold together; null where there is one thread. */
  readonly #shared: SharedCounts | null;
  /** By the addresses of both ends, since with TLS requests have another socket than the server. True: beyond the limit. */
  readonly #sockets = new Map<string, boolean>();
  /** The same by socket: addresses cost three microseconds to ask for. */
  #known = new WeakMap<Socket, boolean>();

  /** @param limit `guard.connections_per_address`. @param trustProxy peers that are not counted. @param crew the threads of a gate with several workers. */
  constructor(limit: number, trustProxy: readonly string[], observe: boolean, crew: Crew | null = null) {
    this.#shared = crew?.main ? new SharedCounts(crew.peers, crew.workers, crew.main.place) : null;
    this.#limit = limit;
    this.#trust = new AddressSet(trustProxy);
    this.#closeUnread = !observe;
  }

  /** Takes other peers that are not counted, and another mode. */
  configure(trustProxy: readonly string[], observe: boolean): void {
    this.#trust = new AddressSet(trustProxy);
    this.#closeUnread = !observe;
    this.#known = new WeakMap();
  }

  /** Counts the connections of a server from their start; without it a connection counts from its first request. */
  watch(server: Server, log: Logger): void {
    if (this.#watched.has(server)) return;
    this.#watched.add(server);
    server.on('connection', guard(log, 'connection', (socket: Socket) => {
      this.exceeds(socket);
      // A connection that stays silent would otherwise be held until its head is overdue.
      if (this.#closeUnread && this.#held(socket) > closedUnread * this.#limit) socket.destroy();
    }));
  }

  /** Whether this connection is one more than its peer may hold. */
  exceeds(socket: Socket): boolean {
    let exceeds = this.#known.get(socket);
    if (exceeds === undefined) this.#known.set(socket, (exceeds = this.#count(socket)));
    return exceeds;
  }

  #count(socket: Socket): boolean {
    const ends = endsOf(socket);
    if (ends === null) return false;
    const known = this.#sockets.get(ends);
    if (known !== undefined) return known;
    const address = peerOf(socket);
    if (this.#trust.has(address)) return false;
    const peer = networkOf(address);
    this.#open.set(peer, (this.#open.get(peer) ?? 0) + 1);
    const place = this.#shared?.add(peer) ?? -1;
    const exceeds = (place === -1 ? (this.#open.get(peer) ?? 0) : (this.#shared as SharedCounts).sum(place)) > this.#limit;
    this.#sockets.set(ends, exceeds);
    socket.once('close', () => this.#closed(ends, peer, place));
    return exceeds;
  }

  #held(socket: Socket): number {
    const peer = networkOf(peerOf(socket));
    return Math.max(this.#shared?.of(peer) ?? 0, this.#open.get(peer) ?? 0);
  }

  #closed(ends: string, peer: string, place: number): void {
    this.#sockets.delete(ends);
    this.#shared?.remove(place);
    const held = (this.#open.get(peer) ?? 1) - 1;
    if (held === 0) this.#open.delete(peer);
    else this.#open.set(peer, held);
  }
}

/** A connection of several requests at a time, as of HTTP/2, has a socket for each of them, with its number. */
type Numbered = Socket & { readonly place?: number };

/** Null for a closed socket, or one that is not TCP. Each further request at a time counts as a connection of its own, as it does with nginx. */
function endsOf({ remoteAddress, remotePort, localAddress, localPort, place = 0 }: Numbered): string | null {
  return remotePort === undefined ? null : `${remoteAddress ?? ''} ${remotePort} ${localAddress ?? ''} ${localPort ?? ''}${place === 0 ? '' : ` ${place}`}`;
}

const peerOf = (socket: Socket): string => peerIn(remoteOf(socket));
