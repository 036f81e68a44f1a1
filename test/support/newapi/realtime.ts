import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import { WebSocketServer, type WebSocket } from 'ws';

import { countTokens } from '../content/ask.ts';
import { parseJson, textField } from '../content/json.ts';
import { judge, judgeModel, type Refusal } from './credentials.ts';
import { queryValue, requestId } from './exchange.ts';
import type { Asked, Seen } from './state.ts';

const POLICY_VIOLATION = 1008;

/** The realtime route. */
export interface Realtime {
  /** Takes over the connection of an upgrade request. */
  upgrade(x: Asked, socket: Duplex, head: Buffer): void;
  /** Live WebSockets. */
  readonly live: number;
  close(): void;
}

/** Whether a request is for the realtime route: any other `Upgrade` is ignored, as Go does. */
export function isRealtime(req: IncomingMessage): boolean {
  const path = (req.url ?? '').split('?', 1)[0];
  return path === '/v1/realtime' && req.headers.upgrade?.toLowerCase() === 'websocket';
}

/** Echoes what it is sent, after judging the token as every relay route does. */
export function createRealtime(): Realtime {
  const wss = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
  });
  const ids = new WeakMap<IncomingMessage, Asked>();
  wss.on('headers', (lines: string[], req: IncomingMessage) => {
    const x = ids.get(req);
    if (x) lines.push(`X-New-Api-Version: ${x.state.settings.version}`, `X-Oneapi-Request-Id: ${x.id}`);
  });
  return {
    upgrade(x, socket, head) {
      const model = queryValue(x, 'model') ?? '';
      const { key, refusal: stranger } = judge(x);
      const refusal = stranger ?? (key && judgeModel(x, key, model));
      if (refusal && x.state.settings.realtimeRefusal === 'status') return refuseUpgrade(x, socket, refusal);
      ids.set(x.req, x);
      wss.handleUpgrade(x.req, socket, head, (peer) => {
        if (x.seen) follow(peer, x.seen);
        if (refusal) refusePeer(x, peer, refusal);
        else converse(x, peer, model);
      });
    },
    get live() {
      return wss.clients.size;
    },
    close() {
      for (const peer of wss.clients) peer.terminate();
      wss.close();
    },
  };
}

function converse(x: Asked, peer: WebSocket, model: string): void {
  const event = (type: string, more: object): void => {
    peer.send(JSON.stringify({ type, event_id: `evt_${requestId(x.state)}`, ...more }));
  };
  event('session.created', { session: { id: `sess_${x.id}`, object: 'realtime.session', model } });
  peer.on('message', (data: Buffer, binary: boolean) => {
    peer.send(data, { binary });
    if (binary || textField(parseJson(data.toString()), 'type') !== 'response.create') return;
    const tokens = countTokens(data.toString());
    const usage = { total_tokens: tokens * 2, input_tokens: tokens, output_tokens: tokens };
    event('response.done', { response: { id: `resp_${x.id}`, status: 'completed', usage } });
  });
}

function refusePeer(x: Asked, peer: WebSocket, { message, code }: Refusal): void {
  const error = { message: `${message} (request id: ${x.id})`, type: 'new_api_error', param: '', code: code ?? '' };
  peer.send(JSON.stringify({ type: 'error', event_id: `evt_${x.id}`, error }));
  peer.close(POLICY_VIOLATION, 'refused');
}

function refuseUpgrade(x: Asked, socket: Duplex, { status, message, code }: Refusal): void {
  const error = { message: `${message} (request id: ${x.id})`, type: 'new_api_error', code: code ?? '' };
  const body = JSON.stringify({ error });
  const lines = [
    `HTTP/1.1 ${status} Refused`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-New-Api-Version: ${x.state.settings.version}`,
    `X-Oneapi-Request-Id: ${x.id}`,
    'Connection: close',
  ];
  if (x.seen) x.seen.status = status;
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

function follow(peer: WebSocket, seen: Seen): void {
  seen.status = 101;
  peer.on('message', (data: Buffer) => {
    seen.bytes += data.length;
  });
  // 1006: the connection went away without a closing frame.
  peer.on('close', (code: number) => {
    seen.aborted = code === 1006;
  });
  peer.on('error', () => {});
}
