import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { codingsOf, isHost, mediaTypeOf, readPath } from '../../lib/http/head.ts';
import { scanMembers } from '../../lib/http/json-scan.ts';
import { readForm } from '../../lib/http/multipart.ts';
import { parseAddress } from '../../lib/identity/address.ts';
import { clientOf, credentialOf } from '../../lib/identity/caller.ts';
import { readQuery } from '../../lib/identity/query.ts';
import { bearer, looksLikeJwt } from '../../lib/keys/keys.ts';
import { keptPath, keptQuery } from '../../lib/redaction/redact.ts';
import { cleanFields, mask, maskUrl } from '../../lib/redaction/redaction.ts';
import { StreamPeek } from '../../lib/upstream/sse.ts';

/** As long as a head may be. At the square of it a reader would take minutes to hours. */
const long = 900_000;
const of = (unit: string, behind = ''): string => unit.repeat(Math.floor(long / unit.length)) + behind;
const same = (text: string): string => text;

const form = (type: string): unknown => readForm(Buffer.from('--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'), type);
const part = (head: string): unknown => readForm(Buffer.from(`${`--b\r\n${head}\r\n\r\n\r\n`.repeat(200)}--b--\r\n`, 'latin1'), 'multipart/form-data; boundary=b');
const spaces = ' '.repeat(4000);

/** Readers of what strangers and upstreams send, each with texts that lead a pattern astray. */
const readers: Readonly<Record<string, () => unknown>> = {
  'the type of a form, blanks behind it': () => form(`multipart/form-data; boundary=b${of(' ', 'x')}`),
  'the type of a form, blanks and semicolons': () => form(`multipart/form-data; boundary=b${of(' ;', 'x')}`),
  'the type of a form, tabs before a parameter': () => form(`multipart/form-data${of('\t', 'x')}`),
  'the type of a form, one long parameter': () => form(`multipart/form-data; boundary=${of('b', '\x01')}`),
  'the type of a form, very many parameters': () => form(`multipart/form-data${of(';a=b', '\x01')}`),
  'the type of a form, an open quote': () => form(`multipart/form-data; boundary="${of('b ')}`),
  'a part’s disposition, blanks behind it': () => part(`Content-Disposition: form-data; name="x"${spaces}x`),
  'a part’s line, blanks before a control character': () => part(`X-Other:${spaces}\x01`),
  'a part’s type, blanks before its end': () => part(`Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain${spaces}x`),
  'a part’s disposition, escapes': () => part(`Content-Disposition: form-data; name="${'\\a'.repeat(1900)}`),
  'a media type': () => mediaTypeOf(['Content-Type', of(' ')]),
  'codings': () => codingsOf(['Content-Encoding', of(' ,')]),
  'a host': () => [isHost(of('a.')), isHost(of('[')), isHost(`[${of(':')}`)],
  'an address': () => [parseAddress(of(' ', '1')), parseAddress(`[${of(':')}`), parseAddress(of('1.')), parseAddress(of('%'))],
  'a path': () => [readPath(of('/')), readPath(of('/..')), readPath(of('/;')), readPath(of('%2e/')), readPath(of('/%3b'))],
  'a query': () => [readQuery(`?key=${of('%')}`, 'key'), readQuery(`?${of('key&')}`, 'key'), readQuery(`?${of('key;')}`, 'key'), readQuery(`?${of('%20key=')}`, 'key')],
  'a credential': () => [credentialOf({ authorization: `Bearer${of(' ')}` }, '/v1/x', ''), credentialOf({ 'sec-websocket-protocol': of(' ,') }, '/v1/x', ''), bearer(`bearer ${of(' ')}`), looksLikeJwt(of('a-', '.'))],
  'an agent': () => clientOf(of('Mozilla/5.0 (', 'x')),
  'a kept path and query': () => [keptPath(of('%2'), same), keptPath(of('/sk-'), same), keptQuery(of('key='), [], same), keptQuery(of('a=%25', '%'), ['a'], same)],
  'masks': () => ['sk-', 'Bearer ', 'eyJ', 'a://', 'a://b:', 'key: ', '"key":', '"key":"\\', '-----BEGIN ', '-----BEGIN PRIVATE KEY-----', '密码：', 'token =', '\\"key\\"', 'sk-a\\n', 'SG.aaaaaaaaaa.', ' Basic  '].map((unit) => [mask(unit.repeat(20_000)), maskUrl(unit.repeat(20_000))]),
  'an event': () => cleanFields({ a: of('sk-'), b: of('Bearer ') }, same),
  'a document': () => ['{', '[', '"', '{"', '\\', '{"a":', '{"model":"\\u', ' '].map((unit) => scanMembers(Buffer.from(`{"x":${of(unit)}`))),
  'a stream': () => ['\r', '\n', ':', 'data:', 'data\r', 'event: ', ' '].map((unit) => new StreamPeek().push(Buffer.from(of(unit)))),
};

describe('texts of any length take a time that grows with it', () => {
  for (const [name, read] of Object.entries(readers)) it(name, () => void assert.doesNotThrow(read));
});
