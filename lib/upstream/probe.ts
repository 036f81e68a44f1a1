import { request } from 'undici';
import type { Core } from '../context.ts';

/** A probe's answer counts this long, milliseconds: NewAPI allows an address 180 such calls in 180 s. */
const fresh = 5000;
const patience = 5000;

/** A look at NewAPI. */
export interface Probe {
  /** Whether NewAPI answers at all; asks at most once in 5 s and never throws. */
  alive(): Promise<boolean>;
}

/** Asks `GET /api/status`, which needs no credential and costs no tokens. Any answer below 500, a 429 too, is a sign of life. */
export function probe(core: Core): Probe {
  let asked = Number.NEGATIVE_INFINITY;
  let answer: Promise<boolean> = Promise.resolve(false);
  return {
    alive() {
      if (core.clock.now() - asked >= fresh) {
        asked = core.clock.now();
        answer = ask(`${core.config.newapi.baseUrl}/api/status`);
      }
      return answer;
    },
  };
}

async function ask(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, { headersTimeout: patience, bodyTimeout: patience, signal: AbortSignal.timeout(patience) });
    await body.dump();
    return statusCode < 500;
  } catch {
    return false;
  }
}
