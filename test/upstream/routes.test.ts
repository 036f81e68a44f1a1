import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { routeOf, routes } from '../../lib/upstream/routes.ts';
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
  ['POST /v1/models/gemini:generateContent', '/v1/models/*', 'task gemini credential'],
  ['GET /v1beta/models', '/v1beta/*', 'task gemini credential'],
  ['GET /v1beta/openai/models', '/v1beta/*', 'task gemini credential'],
  ['POST /v1beta/models/gemini:streamGenerateContent', '/v1beta/*', 'task gemini credential'],

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

  it('decides a hostile path at once', () => {
    const since = performance.now();
    for (const path of [`/${'a/'.repeat(50_000)}mj/image/`, `/v1/videos/${'/'.repeat(50_000)}`, `/${'%'.repeat(100_000)}/mj/`]) routeOf('GET', path);
    assert.ok(performance.now() - since < 1000);
  });
});

describe('the route table', () => {
  it('gives a credential to everything that costs somebody money', () => {
    const open = routes.filter(({ credential, class: kind }) => !credential && (kind === 'model' || kind === 'realtime' || kind === 'task'));
    assert.deepEqual(open.map(({ template }) => template), ['/v1/videos/:id/content', '/mj/image/:id', '/:mode/mj/image/:id']);
  });

  it('offers only model routes to providers other than NewAPI, and names those by the list of providers', () => {
    for (const { template, class: kind, providers } of routes) {
      if (kind !== 'model') assert.deepEqual(providers, [], template);
      for (const name of providers) assert.ok(['openai', 'anthropic', 'ollama'].includes(name), `${template}: ${name}`);
    }
    assert.deepEqual(routeOf('POST', '/v1/messages').providers, ['anthropic']);
    assert.deepEqual(routeOf('POST', '/v1/rerank').providers, []);
    assert.deepEqual(routeOf('POST', '/v1/embeddings').providers, ['openai', 'ollama']);
  });
});
