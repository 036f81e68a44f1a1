import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import helmet, { type HelmetOptions } from 'helmet';
import { headerOf } from '../http/http.ts';
import type { Middleware } from './middleware.ts';

/**
 * Adds helmet's headers, captured once, to the gate's own answers. Proxied answers get `nosniff` alone, unless the upstream has
 * sent it: helmet's policies would break NewAPI's OAuth popups, images and payments. `Strict-Transport-Security` is sent over TLS
 * alone, and says nothing of subdomains: those may be an operator's other hosts, without TLS.
 */
export const securityHeaders: Middleware = {
  name: 'security_headers',
  create() {
    const plain = capture({ strictTransportSecurity: false });
    const secure = capture({ strictTransportSecurity: { includeSubDomains: false } });
    return {
      own: ({ req }, head) => {
        const own = (req.socket as Partial<TLSSocket>).encrypted === true ? secure : plain;
        // An answer with a policy of its own says all that concerns it.
        if (headerOf(head, 'content-security-policy') === null) head.push(...own);
        else for (let at = 0; at < own.length; at += 2) if (headerOf(head, (own[at] as string).toLowerCase()) === null) head.push(own[at] as string, own[at + 1] as string);
      },
      proxied: (_context, head) => {
        if (headerOf(head, 'x-content-type-options') === null) head.push('X-Content-Type-Options', 'nosniff');
      },
    };
  },
};

function capture(options: HelmetOptions): readonly string[] {
  const flat: string[] = [];
  const recorder = { setHeader: (name: string, value: string) => flat.push(name, value), removeHeader: () => undefined };
  helmet(options)({} as IncomingMessage, recorder as unknown as ServerResponse, () => undefined);
  return flat;
}
