import { HeimdallError } from '../errors.ts';
import { bodyTaken, RequestBody } from '../http/http.ts';
import { outgoingCredential } from '../upstream/upstream.ts';
import type { Middleware } from './middleware.ts';

/** Proxies every request that is not of a model route to NewAPI, WebSockets included, streamed both ways. */
export const passthrough: Middleware = {
  name: 'passthrough',
  create: (core, deps) => ({
    serves: 'others',
    handle: function passthroughHandler(context) {
      const { req, res } = context;
      // SECURITY: a gateway key must not reach NewAPI in any mode.
      if (!context.trapped && outgoingCredential(context, 'newapi') === 'never') return context.fail(new HeimdallError('no_upstream_credential'));
      if (context.body === null) {
        const taken = bodyTaken(req, core.log);
        if (taken instanceof HeimdallError) return context.fail(taken);
        context.body = taken === null ? null : RequestBody.of(taken);
        if (req.headers.expect !== undefined && taken === null) res.writeContinue();
      }
      deps.carry(context);
    },
  }),
};
