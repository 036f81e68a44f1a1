import type { Server } from 'node:http';

/**
 * Whose an upgrade is on a server with other `upgrade` listeners than the gate's. `ours`: it is below the gate's mount. `shared`:
 * it may be another listener's, since the gate is mounted at the root or at a path that is not known yet. `foreign`: it is not the gate's.
 */
export type Claim = 'ours' | 'shared' | 'foreign';

/** What a mount asks of the gate that is mounted. */
export interface Mounted {
  /** The gate itself, as the host hands it to Express. */
  readonly gate: unknown;
  /** Whether only the gate serves a path, below its mount: the path is one of an LLM API. */
  readonly serves: (path: string) => boolean;
  /** The mount path that the host has named. */
  readonly path?: string | undefined;
}

/** Mount paths that are remembered. There are several where the host's path has a parameter. */
const longestMemory = 8;

/** The paths at which a host has mounted the gate: named by the host, found in its Express application, or learnt from requests. */
export class Mount {
  /** The newest last. */
  readonly #learnt: string[] = [];
  /** The path learnt last, which most requests have. Changed here only. */
  newest: string | null = null;

  /** @param base the path below which a request reached the gate: `req.baseUrl` of Express. */
  learn(base: string): void {
    if (base === this.newest) return;
    this.newest = base;
    const known = this.#learnt.indexOf(base);
    if (known >= 0) this.#learnt.splice(known, 1);
    this.#learnt.push(base);
    if (this.#learnt.length > longestMemory) this.#learnt.shift();
  }

  /** @param path of the upgrade, without its query. */
  claim(server: Server, path: string, { gate, serves, path: named }: Mounted): Claim {
    const atRoot = (): Claim => (serves(path) ? 'ours' : 'shared');
    const below = (base: string): Claim => (base === '' ? atRoot() : isBelow(base, path) ? 'ours' : 'foreign');
    if (named !== undefined) return below(named.replace(/\/+$/, ''));
    const found = server.listeners('request').map((listener) => restBelow(listener, gate, path));
    const claims = this.#learnt.map(below);
    for (const rest of found) if (rest !== undefined) claims.push(rest === null ? 'foreign' : rest === path ? atRoot() : 'ours');
    return claims.length === 0 ? (isSession(path) ? 'ours' : 'shared') : strongest(claims);
  }
}

/** The claim of several mounts or gates together. */
export const strongest = (claims: readonly Claim[]): Claim => (claims.includes('ours') ? 'ours' : claims.includes('shared') ? 'shared' : 'foreign');

/** Express compares paths without their case by default. */
function isBelow(base: string, path: string): boolean {
  const start = path.slice(0, base.length + 1).toLowerCase();
  return start === base.toLowerCase() || start === `${base.toLowerCase()}/`;
}

/** The WebSocket sessions of LLM APIs. */
const isSession = (path: string): boolean => /\/v1\/(?:realtime|responses)\/?$/.test(path);

/**
 * What Express keeps for each `use`. `match` tells whether a path is below the layer's. It returns the part that matched since
 * router 2.3, before it left it in the layer.
 */
interface Layer {
  readonly handle: unknown;
  readonly path?: string;
  match(path: string): boolean | { readonly path: string } | null;
}

/** Routers within routers that are looked through. */
const deepest = 16;

/**
 * Looks for the gate in a router, an application and the routers within. An application within an application is hidden by Express.
 * @returns what is left of the path below the gate's mount; null when the gate is mounted elsewhere; undefined when it is not found.
 */
function restBelow(handle: unknown, gate: unknown, path: string | null, depth = 0): string | null | undefined {
  if (handle === gate) return path;
  let rest: null | undefined;
  if (depth < deepest) {
    for (const layer of layersOf(handle)) {
      const found = restBelow(layer.handle, gate, path === null ? null : below(layer, path), depth + 1);
      if (typeof found === 'string') return found;
      if (found === null) rest = null;
    }
  }
  return rest;
}

function layersOf(handle: unknown): readonly Layer[] {
  if (typeof handle !== 'function') return [];
  const { stack, router } = handle as { stack?: unknown; router?: { stack?: unknown } };
  const layers = stack ?? router?.stack;
  return Array.isArray(layers) ? (layers as Layer[]).filter(({ match, handle: own }) => typeof match === 'function' && typeof own === 'function') : [];
}

function below(layer: Layer, path: string): string | null {
  try {
    const matched = layer.match(path);
    if (!matched) return null;
    const { path: start = '' } = matched === true ? layer : matched;
    return path.slice(start.length) || '/';
  } catch {
    // A parameter of the path is not valid percent-encoding.
    return null;
  }
}
