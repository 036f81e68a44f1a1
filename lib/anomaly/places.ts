import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Place } from '../../types/finding.d.ts';
import { Memo } from '../platform/platform.ts';

/** How often the file is looked at for a newer version, milliseconds. */
const lookEvery = 60_000;
const longestName = 100;

type Row = Readonly<Record<string, unknown>>;

/** A file in MaxMind's format that is open. */
interface Database {
  get(address: string): Row | null;
}

/**
 * Networks by address, from a file in MaxMind's format (GeoLite2, GeoIP2, DB-IP, IPinfo, IP2Location). Its members are read by shape,
 * since each provider has its own. A newer file in its place is taken up within a minute; a broken one leaves the earlier in use.
 */
export class Places {
  readonly #path: string;
  readonly #warn: (problem: string | null) => void;
  #known = new Memo<Place | null>(200_000, 64);
  #database: Database | null = null;
  #modified = -1;
  /** Its last version could not be used. */
  #isBroken = false;
  #lookAt = Number.NEGATIVE_INFINITY;

  /** @param warn is called with a problem of the file, and with null when it is over. */
  constructor(path: string, warn: (problem: string | null) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  /** What the file says of an address; null where it says nothing. @param now monotonic milliseconds. */
  of(address: string, now: number): Place | null {
    if (now - this.#lookAt >= lookEvery) this.#look(now);
    if (this.#database === null) return null;
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const found = placeIn(this.#database, address);
    this.#known.set(address, found, 64);
    return found;
  }

  #look(now: number): void {
    this.#lookAt = now;
    const modified = modifiedAt(this.#path);
    if (modified === this.#modified) return;
    this.#modified = modified;
    try {
      this.#database = open(this.#path);
      this.#known = new Memo<Place | null>(200_000, 64);
      if (this.#isBroken) this.#warn(null);
      this.#isBroken = false;
    } catch (error) {
      this.#isBroken = true;
      this.#warn(reasonOf(error));
    }
  }
}

/** When a file was changed; 0 where it cannot be told. */
function modifiedAt(path: string): number {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

/** Why a file cannot be used as `anomaly.mmdb`. Null: it can. */
export function whyNoPlaces(path: string): string | null {
  try {
    open(path).get('192.0.2.1');
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

const reasonOf = (error: unknown): string => {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return code === 'ENOENT' ? 'there is no such file' : typeof code === 'string' ? `it cannot be read, ${code}` : `it is no file in MaxMind's format: ${String(message).slice(0, longestName)}`;
};

/** Loaded when a file is named. @throws when the file cannot be read, or is none of that format. */
function open(path: string): Database {
  const { Reader } = createRequire(import.meta.url)('mmdb-lib') as { readonly Reader: new (file: Buffer) => Database & { readonly metadata: { readonly treeDepth: number } } };
  const database = new Reader(readFileSync(path));
  if (!(database.metadata.treeDepth > 0)) throw new Error('its metadata are missing');
  return database;
}

/** A broken entry says nothing of its address. */
function placeIn(database: Database, address: string): Place | null {
  try {
    const row = database.get(address);
    return row === null || typeof row !== 'object' ? null : placeOf(row);
  } catch {
    return null;
  }
}

/** What a row says, by the names of its members in the files of several providers. */
export function placeOf(row: Row): Place | null {
  const traits = member(row, 'traits');
  const place: Place = {
    asn: asnIn(row['autonomous_system_number'] ?? traits['autonomous_system_number'] ?? row['asn']),
    organization: textIn(row['autonomous_system_organization'] ?? traits['autonomous_system_organization'] ?? row['as_name'] ?? row['organization'] ?? row['name']),
    country: countryIn(row['country_code'], row['country'], member(row, 'country')['iso_code'], member(row, 'registered_country')['iso_code']),
    hosting: hostingIn(row, traits),
  };
  return place.asn === null && place.country === null && place.hosting === null ? null : place;
}

const member = (row: Row, name: string): Row => (typeof row[name] === 'object' && row[name] !== null ? (row[name] as Row) : {});
const textIn = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value.slice(0, longestName) : null);
const countryIn = (...values: readonly unknown[]): string | null => values.find((value): value is string => typeof value === 'string' && /^[A-Z]{2}$/.test(value)) ?? null;

function asnIn(value: unknown): number | null {
  const number = Number(typeof value === 'string' ? value.replace(/^AS/i, '') : value);
  return Number.isSafeInteger(number) && number > 0 ? number : null;
}

function hostingIn(row: Row, traits: Row): boolean | null {
  const said = [row['is_hosting_provider'], traits['is_hosting_provider'], row['is_hosting'], row['hosting'], row['is_datacenter']].find((value) => typeof value === 'boolean' || typeof value === 'string');
  if (said !== undefined) return said === true || said === 'true' || said === '1';
  const kind = traits['user_type'] ?? row['usage_type'] ?? row['as_type'] ?? row['type'];
  return typeof kind === 'string' ? /^(?:hosting|DCH)$/i.test(kind) : null;
}
