import { HeimdallError } from '../errors.ts';
import { bodyTaken } from '../http/http.ts';
import { outgoingCredential } from '../upstream/upstream.ts';
import { contextOf, type Middleware } from './middleware.ts';

/** Everything that is no model route goes to NewAPI, streamed both ways; WebSockets too. */
export const passthrough: Middleware = {
  name: 'passthrough',
  create: (core, deps) => ({
    handle: function passthroughHandler(req, res) {
      const context = contextOf(req);
      // SECURITY: a gateway key must not reach NewAPI, in no mode.
      if (outgoingCredential(context, 'newapi') === 'never') return context.fail(new HeimdallError('no_upstream_credential'));
      const taken = bodyTaken(req, core.log);
      if (taken instanceof HeimdallError) return context.fail(taken);
      context.body = taken;
      if (req.headers.expect !== undefined && taken === null) res.writeContinue();
      deps.carry(context);
    },
  }),
};
