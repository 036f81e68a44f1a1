import { Duplex } from 'node:stream';

/** A byte stream in memory in place of a socket, with what Node's HTTP server asks of one: time limits and the like are those of the connection behind it. */
export abstract class MemorySocket extends Duplex {
  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
