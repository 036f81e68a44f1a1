import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Route } from '../../types/route.d.ts';
import type { HeimdallError } from '../errors.ts';
import { type Language, languageOf, prefersHtml } from '../http/http.ts';

/** When a browser should come back where the error names no time, seconds. */
const usualWait = 5;

type Status = 401 | 403 | 404 | 429 | 502 | 503 | 504;

/** Title and explanation of each status that a browser is shown a page for. */
const texts: Readonly<Record<Language, Readonly<Record<Status, readonly [title: string, what: string]>>>> = {
  en: {
    401: ['Sign-in needed', 'This address needs a valid credential.'],
    403: ['Not allowed', 'This request is not allowed here.'],
    404: ['Not found', 'There is nothing at this address.'],
    429: ['Too many requests', 'Too many requests came from your address.'],
    502: ['The service cannot be reached', 'The service behind this gateway does not answer at the moment. It may be starting again.'],
    503: ['Unavailable for a moment', 'The service cannot take this request at the moment.'],
    504: ['The service took too long', 'The service behind this gateway did not answer in time.'],
  },
  'zh-CN': {
    401: ['需要登录', '访问此地址需要有效的凭据。'],
    403: ['不允许访问', '此处不允许该请求。'],
    404: ['未找到', '此地址没有内容。'],
    429: ['请求过多', '来自您地址的请求过多。'],
    502: ['无法连接服务', '网关后面的服务目前没有响应，可能正在重新启动。'],
    503: ['暂时不可用', '服务目前无法处理此请求。'],
    504: ['服务响应超时', '网关后面的服务未能及时响应。'],
  },
};
const again: Readonly<Record<Language, readonly [wait: (seconds: number) => string, never: string, id: string]>> = {
  en: [(seconds) => `Try again in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}.`, 'Trying again alone will not help.', 'Request id'],
  'zh-CN': [(seconds) => `请在 ${seconds} 秒后重试。`, '仅重试无法解决问题。', '请求编号'],
};

const style = 'body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}h1{font-size:1.4em}code{overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}';
const policy = `default-src 'none'; style-src 'sha256-${hash('sha256', style, 'base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** An error as a page for people. */
export interface ErrorPage {
  readonly head: string[];
  readonly body: string;
}

/** The request whose error is shown. */
interface Asked {
  readonly route: Route;
  readonly headers: IncomingHttpHeaders;
  readonly id: string;
}

/** The page of an error, where a browser asks for a page; null where the error is told in the route's own shape. */
export function errorPage({ route, headers, id }: Asked, error: HeimdallError): ErrorPage | null {
  if ((route.class !== 'ui' && route.browsed !== true) || !Object.hasOwn(texts.en, error.status) || !prefersHtml(headers.accept)) return null;
  const status = error.status as Status;
  const language = languageOf(headers['accept-language']);
  const [title, what] = texts[language][status];
  const [wait, never, label] = again[language];
  const seconds = error.retryAfter ?? (status === 429 || status >= 500 ? usualWait : null);
  const detail = language === 'en' ? `<p>${escaped(error.message)}</p>` : '';
  return {
    head: [
      'Content-Type', 'text/html; charset=utf-8', 'Content-Security-Policy', policy, 'Cache-Control', 'no-store', 'Vary', 'Accept, Accept-Language',
      ...(seconds === null ? [] : ['Retry-After', String(seconds)]),
    ],
    body: `<!doctype html>\n<html lang="${language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${style}</style></head>\n`
      + `<body><main><h1>${title}</h1><p>${what}</p>${detail}<p>${seconds === null ? never : wait(seconds)}</p><p>${label}: <code>${escaped(id)}</code></p></main></body></html>\n`,
  };
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] as string);
