import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HANDLERS } from '../../lib/config/routes.ts';
import { routeOf, routes, routeTable } from '../../lib/upstream/routes.ts';
import type { RouteConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';

type Row = readonly [asked: string, template: string, traits: string];

/** Class, dialect of errors, and what else sets a route apart. */
function traits({ class: kind, errors, body, credential, free, media }: Route): string {
  return [kind, errors, body === 'none' ? '' : body, credential ? 'credential' : '', free ? 'free' : '', media ? 'media' : ''].filter(Boolean).join(' ');
}

const table: readonly Row[] = [
  ['POST /v1/chat/completions', '/v1/chat/completions', 'model openai json credential'],
  ['POST /v1/completions', '/v1/completions', 'model openai json credential'],
  ['POST /v1/embeddings', '/v1/embeddings', 'model openai json credential'],
  ['POST /v1/responses', '/v1/responses', 'model openai json credential'],
  ['POST /v1/messages', '/v1/messages', 'model claude json credential'],
  ['POST /v1/moderations', '/v1/moderations', 'model openai json credential free'],
  ['POST /v1/rerank', '/v1/rerank', 'model openai json credential'],
  ['POST /v1/images/generations', '/v1/images/generations', 'model openai json credential media'],
  ['POST /v1/images/edits', '/v1/images/*', 'model openai form credential media'],
  ['POST /v1/images/variations', '/v1/images/*', 'model openai form credential media'],
  ['POST /v1/audio/speech', '/v1/audio/speech', 'model openai json credential media'],
  ['POST /v1/audio/transcriptions', '/v1/audio/*', 'model openai form credential media'],
  ['POST /v1/audio/translations', '/v1/audio/*', 'model openai form credential media'],
  ['GET /v1/models', '/v1/models', 'model openai credential free'],
  ['GET /v1/models/gpt-4o', '/v1/models/:model', 'model openai credential free'],

  ['GET /v1/realtime', '/v1/realtime', 'realtime openai credential'],
  ['GET /v1/dashboard/billing/usage', '/v1/dashboard/*', 'api newapi'],
  ['GET /dashboard/billing/subscription', '/dashboard/*', 'api newapi'],
  ['GET /v1/videos/42/content', '/v1/videos/:id/content', 'task task'],
  ['GET /v1/videos/42', '/v1/*', 'task openai credential'],
  ['POST /v1/videos', '/v1/*', 'task openai credential'],
  ['POST /v1/videos/42/content', '/v1/*', 'task openai credential'],
  ['POST /v1/messages/count_tokens', '/v1/messages/*', 'task claude credential'],
  ['POST /v1/edits', '/v1/*', 'task openai credential'],
  ['POST /v1/responses/compact', '/v1/*', 'task openai credential'],
  ['POST /v1/engines/x/embeddings', '/v1/*', 'task openai credential'],
  ['POST /v1/files', '/v1/*', 'task openai credential'],
  ['DELETE /v1/models/gpt-4o', '/v1/*', 'task openai credential'],
  ['GET /v1/chat/completions', '/v1/*', 'task openai credential'],
  ['HEAD /v1/models', '/v1/*', 'task openai credential'],
  ['POST /v1/oneapi/proxy/3/x', '/v1/*', 'task openai credential'],
  ['GET /v1', '/v1/*', 'task openai credential'],
  ['GET /v1/', '/v1/*', 'task openai credential'],
  ['GET /v1/models/', '/v1/*', 'task openai credential'],
  ['GET /v1/models/meta/llama', '/v1/*', 'task openai credential'],
  ['POST /v1/models/gemini:generateContent', '/v1/models/*', 'model gemini json credential'],
  ['GET /v1beta/models', '/v1beta/*', 'task gemini credential'],
  ['GET /v1beta/openai/models', '/v1beta/*', 'task gemini credential'],
  ['POST /v1beta/models/gemini:streamGenerateContent', '/v1beta/models/*', 'model gemini json credential'],
  ['POST /v1beta/files', '/v1beta/*', 'task gemini credential'],

  ['POST /mj/submit/imagine', '/mj/*', 'task midjourney credential'],
  ['GET /mj/task/42/fetch', '/mj/*', 'task midjourney credential'],
  ['POST /fast/mj/submit/imagine', '/:mode/mj/*', 'task midjourney credential'],
  ['GET /mj/image/42', '/mj/image/:id', 'task midjourney'],
  ['GET /relax/mj/image/42', '/:mode/mj/image/:id', 'task midjourney'],
  ['POST /mj/notify', '/mj/notify', 'webhook newapi'],
  ['POST /fast/mj/notify', '/:mode/mj/notify', 'webhook newapi'],
  ['POST /suno/submit/music', '/suno/*', 'task task credential'],
  ['GET /suno/fetch/42', '/suno/*', 'task task credential'],
  ['POST /kling/v1/videos/text2video', '/kling/*', 'task task credential'],
  ['POST /jimeng/', '/jimeng/*', 'task task credential'],
  ['POST /jimeng', '/jimeng/*', 'task task credential'],

  ['POST /api/stripe/webhook', '/api/stripe/webhook', 'webhook newapi'],
  ['POST /api/creem/webhook', '/api/creem/webhook', 'webhook newapi'],
  ['POST /api/waffo/webhook', '/api/waffo/webhook', 'webhook newapi'],
  ['GET /api/user/epay/notify', '/api/user/epay/notify', 'webhook newapi'],
  ['GET /api/status', '/api/*', 'api newapi'],
  ['POST /api/user/login', '/api/*', 'api newapi'],
  // The dashboard's own list of drawings: its session is no token.
  ['GET /api/mj/self', '/api/*', 'api newapi'],
  ['GET /api/mj/', '/api/*', 'api newapi'],
  ['GET /api/mj/notify', '/api/*', 'api newapi'],
  ['GET /api/log/token', '/api/*', 'api newapi'],
  ['GET /api', '/api/*', 'api newapi'],
  ['POST /pg/chat/completions', '/pg/*', 'api newapi'],
  ['GET /pg/mj/x', '/pg/*', 'api newapi'],

  ['GET /', 'other', 'ui newapi'],
  ['GET /assets/app.js', 'other', 'ui newapi'],
  ['GET /v1x', 'other', 'ui newapi'],
  ['GET /apiary', 'other', 'ui newapi'],
  ['GET /mjx', 'other', 'ui newapi'],
  ['GET /x/v1/chat/completions', 'other', 'ui newapi'],
  ['POST /V1/chat/completions', 'other', 'ui newapi'],
  ['GET /a/b/mj/image/1', 'other', 'ui newapi'],
  ['GET ', 'other', 'ui newapi'],
  ['OPTIONS /v1/chat/completions', 'preflight', 'ui openai'],
  ['OPTIONS /api/status', 'preflight', 'ui openai'],
  ['OPTIONS *', 'preflight', 'ui openai'],
];

describe('routeOf', () => {
  for (const [asked, template, expected] of table) {
    it(`knows ${asked}`, () => {
      const space = asked.indexOf(' ');
      const route = routeOf(asked.slice(0, space), asked.slice(space + 1));
      assert.deepEqual([route.template, traits(route)], [template, expected]);
    });
  }

  it('takes what a caller wrote into no template', () => {
    const templates = new Set(routes.map(({ template }) => template));
    for (const path of ['/v1/models/secret-model', '/mj/image/secret', '/v1/x\nsecret', '/secret', `/${'a'.repeat(10_000)}`]) {
      const { template } = routeOf('GET', path);
      assert.ok(templates.has(template) && !template.includes('secret'), template);
    }
  });

  it('is reached by every row of the table above', () => {
    const reached = new Set(table.map(([, template]) => template));
    assert.deepEqual(routes.map(({ template }) => template).filter((template) => !reached.has(template)), []);
  });

  it('decides a hostile path in time linear to its length: a square of it would outlast every test', () => {
    for (const path of [`/${'a/'.repeat(500_000)}mj/image/`, `/v1/videos/${'/'.repeat(500_000)}`, `/${'%'.repeat(500_000)}/mj/`]) routeOf('GET', path);
  });
});

describe('the route table', () => {
  it('gives a credential to everything that costs somebody money', () => {
    const open = routes.filter(({ credential, class: kind }) => !credential && (kind === 'model' || kind === 'realtime' || kind === 'task'));
    assert.deepEqual(open.map(({ template }) => template), ['/v1/videos/:id/content', '/mj/image/:id', '/:mode/mj/image/:id']);
  });

  it('calls every route what targets and limits know it by', () => {
    for (const { template, api, upstream } of routes) assert.deepEqual([api, upstream], [template, null]);
  });
});

/** As the configuration completes a row. */
function row(given: Partial<RouteConfig> & { readonly path: string }): RouteConfig {
  return { handler: 'proxy', version: null, methods: null, middleware: [], headers: {}, healthCheck: null, ...given };
}

describe('a configured route', () => {
  const resolve = (given: Parameters<typeof row>[0]) => {
    const { routeOf: of } = routeTable([row(given)]);
    return (method: string, path: string): string => {
      const { template, api, upstream, ...rest } = of(method, path);
      return [template, api, upstream ?? '-', traits({ template, api, upstream, ...rest })].join(' ');
    };
  };

  it('gives a call another path, which leaves by the call\'s own', () => {
    const of = resolve({ path: '/ask', handler: 'completion', version: 'v9' });
    for (const path of ['/v9/ask', '/v9/ask/']) assert.equal(of('POST', path), '/v9/ask /v1/completions /v1/completions model openai json credential');
    assert.equal(of('OPTIONS', '/v9/ask'), 'preflight preflight /v1/completions ui openai');
    assert.equal(of('POST', '/ask'), 'other other - ui newapi');
    assert.equal(of('POST', '/v9/ask/x'), 'other other - ui newapi');
  });

  it('leaves a model route what it is, whoever is said to handle it', () => {
    for (const handler of ['completion', 'chat', 'embedding', 'proxy'] as const) {
      const of = resolve({ path: '/v1/messages', handler, version: 'v1' });
      assert.equal(of('POST', '/v1/messages'), '/v1/messages /v1/messages /v1/messages model claude json credential', handler);
      assert.equal(of('POST', '/v1/messages/'), of('POST', '/v1/messages'));
    }
    assert.equal(resolve({ path: '/v1/images/edits' })('POST', '/v1/images/edits'), '/v1/images/edits /v1/images/* /v1/images/edits model openai form credential media');
  });

  it('knows every other path as before, a page alone as more than one', () => {
    assert.equal(resolve({ path: '/mj/submit/imagine' })('POST', '/mj/submit/imagine'), '/mj/submit/imagine /mj/* - task midjourney credential');
    assert.equal(resolve({ path: '/api/status' })('GET', '/api/status'), '/api/status /api/* - api newapi');
    assert.equal(resolve({ path: '/docs' })('GET', '/docs'), '/docs other - api newapi');
    assert.equal(resolve({ path: '/docs' })('PURGE', '/docs/'), '/docs other - api newapi');
    assert.equal(resolve({ path: '/v1/realtime' })('GET', '/v1/realtime'), '/v1/realtime /v1/realtime - realtime openai credential');
  });

  it('demands a credential where auth is listed, and never ceases to', () => {
    assert.equal(resolve({ path: '/docs', middleware: ['auth'] })('DELETE', '/docs'), '/docs other - task newapi credential');
    assert.match(resolve({ path: '/v1/health', handler: 'health', middleware: ['auth'] })('GET', '/v1/health'), /^\/v1\/health \/v1\/health - api openai credential free$/);
    assert.match(resolve({ path: '/mj/x', middleware: [] })('GET', '/mj/x'), /credential$/);
  });

  it('is what its row says by every method, those it does not serve too', () => {
    const table = routeTable([row({ path: '/ask', handler: 'chat', methods: ['POST'] })]);
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE', '']) {
      assert.equal(table.rows.get(table.routeOf(method, '/ask'))?.path, '/ask', method);
      assert.equal(table.routeOf(method, '/ask').class === 'model', method === 'POST', method);
    }
    assert.equal(table.rows.get(table.routeOf('POST', '/v1/completions')), undefined);
  });

  it('belongs to one gate: no other knows it', () => {
    const table = routeTable([row({ path: '/v1/completions', headers: { a: 'b' } })]);
    assert.notEqual(table.routeOf('POST', '/v1/completions'), routeOf('POST', '/v1/completions'));
    assert.equal(routes.includes(table.routeOf('POST', '/v1/completions')), false);
    assert.ok(table.routes.includes(table.routeOf('POST', '/v1/completions')));
    assert.equal(table.routeOf('POST', '/v1/chat/completions'), routeOf('POST', '/v1/chat/completions'));
  });

  it('stands for a call that there is', () => {
    for (const { api } of Object.values(HANDLERS)) assert.ok(api === null || routeOf('POST', api).class === 'model', String(api));
  });
});
