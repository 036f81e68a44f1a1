import { modelList, PNG } from '../content/answers.ts';
import { parseJson, textField } from '../content/json.ts';
import { allowModel, authorise } from './credentials.ts';
import { pause, queryValue, readRelayBody, send, sendJson } from './exchange.ts';
import { answerText } from './relay.ts';
import type { Exchange, Handler, Key, Route } from './state.ts';
import { notImplemented } from './web.ts';

const MODELS_CREATED = 1_626_777_600;
const MP4 = Buffer.from([0, 0, 0, 0x18, 0x66, 0x74, 0x79, 0x70, 0x69, 0x73, 0x6f, 0x6d, 0, 0, 2, 0, 0xff, 0xfe, 0x80, 0x81]);

/** Model lists, Gemini, Midjourney, Suno, video, and what NewAPI has a route but no code for. */
export const taskRoutes: readonly Route[] = [
  ['GET', '/v1/models', withKey(listModels)],
  ['GET', /^\/v1\/models\/([^/]+)$/, withKey(oneModel)],
  ['DELETE', /^\/v1\/models\/[^/]+$/, withKey(notImplemented)],
  ['GET', '/v1beta/models', withKey(listGemini)],
  ['GET', '/v1beta/openai/models', withKey(listModels)],
  ['POST', /^\/v1(?:beta)?\/models\/(.+?):(\w+)$/, withKey(gemini)],
  ['GET', /^(?:\/[^/]+)?\/mj\/image\/[^/]+$/, (x) => send(x, 200, PNG, ['Content-Type', 'image/png'])],
  ['POST', /^(?:\/[^/]+)?\/mj\/notify$/, (x) => sendJson(x, 200, { code: 1, description: 'OK' })],
  ['POST', /^(?:\/[^/]+)?\/mj\/submit\/([\w-]+)$/, withKey(mjSubmit)],
  ['POST', /^(?:\/[^/]+)?\/mj\/insight-face\/(swap)$/, withKey(mjSubmit)],
  ['POST', /^(?:\/[^/]+)?\/mj\/task\/list-by-condition$/, withKey((x) => sendJson(x, 200, [mjTask('1')]))],
  ['GET', /^(?:\/[^/]+)?\/mj\/task\/([^/]+)\/fetch$/, withKey((x, _, [id]) => sendJson(x, 200, mjTask(id ?? '')))],
  ['GET', /^(?:\/[^/]+)?\/mj\/task\/[^/]+\/image-seed$/, withKey((x) => sendJson(x, 200, { code: 1, description: 'OK', result: '42' }))],
  ['POST', /^\/suno\/submit\/([\w-]+)$/, withKey((x, key) => task(x, key, 'suno_music', `suno-${x.id}`))],
  ['POST', '/suno/fetch', withKey((x) => sendTask(x, [{ task_id: 'suno-1', status: 'SUCCESS' }]))],
  ['GET', /^\/suno\/fetch\/([^/]+)$/, withKey((x, _, [id]) => sendTask(x, { task_id: id, status: 'SUCCESS' }))],
  ['POST', '/v1/videos', withKey(video)],
  ['POST', /^\/v1\/videos\/[^/]+\/remix$/, withKey(video)],
  ['GET', /^\/v1\/videos\/([^/]+)$/, withKey((x, _, [id]) => sendJson(x, 200, videoState(id ?? '', 'completed')))],
  ['GET', /^\/v1\/videos\/[^/]+\/content$/, withKey((x) => send(x, 200, MP4, ['Content-Type', 'video/mp4']))],
  ['POST', '/v1/video/generations', withKey(video)],
  ['GET', /^\/v1\/video\/generations\/([^/]+)$/, withKey((x, _, [id]) => sendTask(x, { task_id: id, status: 'SUCCESS' }))],
  ['POST', /^\/kling\/v1\/videos\/(?:text|image)2video$/, withKey((x, key) => task(x, key, 'kling-v1', `kling-${x.id}`))],
  ['GET', /^\/kling\/v1\/videos\/(?:text|image)2video\/([^/]+)$/, withKey((x, _, [id]) => sendTask(x, { task_id: id }))],
  ['POST', /^\/jimeng\/?$/, withKey((x, key) => task(x, key, 'kling-v1', `jimeng-${x.id}`))],
  ['*', /^\/v1\/(?:files|fine-tunes)(?:\/.*)?$/, withKey(notImplemented)],
  ['POST', '/v1/images/variations', withKey(notImplemented)],
];

/** A task's refusal. */
function taskError(x: Exchange, status: number, code: string, message: string): void {
  sendJson(x, status, { code, message, data: null });
}

function withKey(handler: (x: Exchange, key: Key, groups: readonly (string | undefined)[]) => void | Promise<void>): Handler {
  return (x, groups) => {
    const key = authorise(x);
    return key && handler(x, key, groups);
  };
}

function listModels(x: Exchange, key: Key): void {
  sendJson(x, 200, { success: true, ...modelList(key.models ?? x.state.settings.models, MODELS_CREATED, 'custom') });
}

function listGemini(x: Exchange, key: Key): void {
  const names = key.models ?? x.state.settings.models;
  sendJson(x, 200, { models: names.map((name) => ({ name: `models/${name}`, displayName: name })), nextPageToken: null });
}

function oneModel(x: Exchange, _key: Key, [name = '']: readonly (string | undefined)[]): void {
  const id = decodeURIComponent(name);
  if (x.state.settings.models.includes(id)) {
    return sendJson(x, 200, { id, object: 'model', created: MODELS_CREATED, owned_by: 'custom' });
  }
  // With status 200: that is how NewAPI says it.
  const message = `The model '${id}' does not exist`;
  sendJson(x, 200, { error: { message, type: 'invalid_request_error', param: 'model', code: 'model_not_found' } });
}

async function gemini(x: Exchange, key: Key, [name = '', action]: readonly (string | undefined)[]): Promise<void> {
  const model = decodeURIComponent(name);
  switch (action) {
    case 'generateContent':
      return answerText(x, key, 'gemini', { model, stream: false });
    case 'streamGenerateContent':
      return answerText(x, key, 'gemini', { model, stream: true });
    case 'embedContent':
      if ((await readRelayBody(x)) === undefined || !allowModel(x, key, model)) return;
      return sendJson(x, 200, { embedding: { values: [0.1, 0.2, 0.3] } });
    default:
      return sendJson(x, 404, { error: { code: 404, message: `Unknown action ${action}`, status: 'NOT_FOUND' } });
  }
}

async function mjSubmit(x: Exchange, key: Key, [action]: readonly (string | undefined)[]): Promise<void> {
  const raw = await readRelayBody(x);
  if (raw === undefined) return;
  const body = parseJson(raw.toString());
  if (body === undefined || (action === 'imagine' && textField(body, 'prompt') === undefined)) {
    return sendJson(x, 400, { description: 'prompt_is_required', type: 'new_api_error', code: 4 });
  }
  if (!allowModel(x, key, 'mj_imagine')) return;
  sendJson(x, 200, { code: 1, description: 'Submit success', properties: {}, result: `mj-${x.id}` });
}

function mjTask(id: string): unknown {
  return { id, action: 'IMAGINE', status: 'SUCCESS', progress: '100%', imageUrl: `/mj/image/${id}`, failReason: '' };
}

async function task(x: Exchange, key: Key, model: string, id: string): Promise<void> {
  const raw = await readRelayBody(x);
  if (raw === undefined) return;
  if (parseJson(raw.toString()) === undefined) return taskError(x, 400, 'invalid_request', 'The body is not JSON');
  if (allowModel(x, key, model)) sendTask(x, id);
}

function sendTask(x: Exchange, data: unknown): void {
  sendJson(x, 200, { code: 'success', message: '', data });
}

async function video(x: Exchange, key: Key): Promise<void> {
  const raw = await readRelayBody(x);
  if (raw === undefined) return;
  await pause(x, x.state.settings.delay);
  const model = textField(parseJson(raw.toString()), 'model') ?? queryValue(x, 'model') ?? 'sora-2';
  if (allowModel(x, key, model)) sendJson(x, 200, { ...videoState(`video_${x.id}`, 'queued'), model });
}

function videoState(id: string, status: string): { [name: string]: unknown } {
  return { id, task_id: id, object: 'video', status, progress: status === 'completed' ? 100 : 0, seconds: '4' };
}
