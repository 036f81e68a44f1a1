/** What a stream of HTTP/2 asks for, in the form of HTTP/1.1. */
export interface StreamHead {
  /** The request line and its fields, with the empty line at the end. */
  readonly bytes: Buffer;
  readonly method: string;
  /** Bytes of its body where the client names them; null: the body comes in chunks. */
  readonly length: number | null;
}

const tokenForm = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/;
const targetForm = /^[\x21-\x7e\x80-\xff]+$/;
/** No control character but a tab: a line break in a value would begin another field. */
const valueForm = /^[\t\x20-\x7e\x80-\xff]*$/;
const lengthForm = /^\d{1,15}$/;
/** Fields of one connection have no meaning in HTTP/2, and decide the framing in HTTP/1.1 (RFC 9113 §8.2.2). */
const ofConnections: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings']);

/** The fields of a stream's head, in the order of RFC 9113 §8.3: pseudo-header fields by name, then the others. */
interface Fields {
  readonly pseudo: ReadonlyMap<string, string>;
  readonly lines: readonly string[];
  readonly cookies: readonly string[];
  readonly host: string | null;
  readonly length: number | null;
}

/**
 * Writes the head of a stream as that of a request of HTTP/1.1: `:authority` as the one `Host`, the crumbs of a cookie as one field
 * (RFC 9113 §8.2.3). Names of fields are in lower case already.
 * @param raw names and values as received.
 * @param hasBody the head does not end the stream.
 * @returns null for a head that is malformed, or that cannot be said in HTTP/1.1.
 */
export function requestHead(raw: readonly string[], hasBody: boolean): StreamHead | null {
  const fields = fieldsIn(raw);
  if (fields === null) return null;
  const { pseudo, lines, cookies, host, length } = fields;
  const method = pseudo.get(':method') ?? '';
  const authority = pseudo.get(':authority') ?? null;
  const isTunnel = method === 'CONNECT';
  const target = isTunnel ? (authority ?? '') : (pseudo.get(':path') ?? '');
  if (!tokenForm.test(method) || !targetForm.test(target) || (!isTunnel && target[0] !== '/' && target !== '*')) return null;
  if (!isTunnel && !/^https?$/i.test(pseudo.get(':scheme') ?? '')) return null;
  if (authority !== null && !targetForm.test(authority)) return null;
  const head = [`${method} ${target} HTTP/1.1`];
  for (const name of new Set([authority, host])) if (name !== null) head.push(`host: ${name}`);
  head.push(...lines);
  if (cookies.length > 0) head.push(`cookie: ${cookies.join('; ')}`);
  if (hasBody && length === null && !isTunnel) head.push('transfer-encoding: chunked');
  return { bytes: Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), method, length: hasBody ? length : 0 };
}

function fieldsIn(raw: readonly string[]): Fields | null {
  const pseudo = new Map<string, string>();
  const lines: string[] = [];
  const cookies: string[] = [];
  let host: string | null = null;
  let length: number | null = null;
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [raw[at] as string, raw[at + 1] as string];
    if (!valueForm.test(value)) return null;
    if (name[0] === ':') {
      if (pseudo.has(name)) return null;
      pseudo.set(name, value);
    } else if (!tokenForm.test(name) || ofConnections.has(name)) return null;
    else if (name === 'cookie') cookies.push(value);
    else if (name === 'host') {
      if (host !== null) return null;
      host = value;
    } else {
      if (name === 'content-length') {
        if (length !== null || !lengthForm.test(value)) return null;
        length = Number(value);
      }
      lines.push(`${name}: ${value}`);
    }
  }
  return { pseudo, lines, cookies, host, length };
}

/** Trailers as the end of a chunked body; those that cannot be said are left out, as a receiver may do (RFC 9110 §6.5.1). */
export function trailerLines(raw: readonly string[]): string {
  let lines = '';
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [raw[at] as string, raw[at + 1] as string];
    if (tokenForm.test(name) && valueForm.test(value) && !ofConnections.has(name) && name !== 'content-length' && name !== 'host') lines += `${name}: ${value}\r\n`;
  }
  return lines;
}
