import type { Config } from '../../types/config.d.ts';
import { askGate, originOf, reachable, type Place } from './asking.ts';
import { json, printJson, textOf, type Action } from './command.ts';

/** How long an answer may take, milliseconds. */
const patience = 4000;

/** The command `health`: asks the gate of this machine, by the configuration it was started with, how it is. */
export const health: Action = {
  options: { ready: { type: 'boolean', summary: 'also whether it would serve model requests now' }, json },
  examples: ['heimdall health --ready'],
  run: async (invocation) => {
    const { loadConfig } = await import('../config/config.ts');
    const config = loadConfig(textOf(invocation, 'config'));
    const { url, found } = await ask(config, invocation.values['ready'] === true);
    if (invocation.values['json']) printJson(invocation, { url, well: found === null, problem: found });
    else if (found === null) invocation.output.out(`${url}: well\n`, 'green');
    else invocation.output.err(`${url}: ${found}\n`, 'red');
    return found === null ? 0 : 1;
  },
};

interface Asked {
  /** What is wrong, or null. */
  readonly found: string | null;
  /** The body of the answer. */
  readonly text: string;
}

/** Asks the gate of this machine. @param ready also whether it would serve model requests. */
export async function ask(config: Config, ready: boolean): Promise<Asked & { readonly url: string }> {
  const { server: { host, port, tls }, endpoints: { health: path } } = config;
  const place: Place = { host: reachable(host), port, isSecure: tls !== null, isMain: true };
  const asked = path === false ? null : `${path}${ready ? '/ready' : ''}`;
  const url = `${originOf(place)}${asked ?? ''}`;
  try {
    // Nothing is sent that a stranger may not see, so that the certificate need not fit this address.
    const { status, text } = await askGate(config, place, { path: asked, headers: { Host: 'localhost' }, patience });
    // A gate that refuses this address or asks for patience lives.
    const isWell = status === 200 || asked === null || (!ready && (status === 403 || status === 429));
    return { url, found: isWell ? null : `answered ${status}`, text };
  } catch (error) {
    return { url, found: reasonOf(error as NodeJS.ErrnoException), text: '' };
  }
}

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string => code ?? message;
