import { z } from 'zod';
import type { IssuedKey, KeyView } from '../../types/registry.d.ts';
import { credential, duration, flag, key, keyLimits, list, network, orNull, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { invalid, keyJson } from '../registry/registry.ts';
import { changed, fieldsOf, type Call, type AdminServices, type Method, type Reply } from './call.ts';
import { moment, strictly } from './fields.ts';
import { calendarOf } from '../platform/platform.ts';

/** `GET keys`: all keys, those of the configuration included. `accepted`: whether requests may use them; `available`: whether the store can be read, else they are those known last. */
export const listKeys: Method = (_call, { core, registry }) =>
  ({ status: 200, body: { keys: registry.keys().map(keyJson), accepted: core.config.auth.mode !== 'passthrough', available: registry.problem === null } });

export const showKey: Method = (call, services) => {
  const view = find(call, services);
  if (view === undefined) throw new HeimdallError('not_found', { message: 'There is no key of that name.' });
  return { status: 200, body: keyJson(view) };
};

/** `POST keys`: answers with the key itself, which cannot be read later. */
export const createKey: Method = async (call, { core, registry }) => {
  const { upstream_credential: upstreamCredential, ...fields } = await fieldsOf(call, newKey(() => calendarOf(core.clock).now()));
  if (registry.keys().some(({ name }) => name === fields.name)) throw new HeimdallError('conflict', { message: `name: expected a name that is free, got ${JSON.stringify(fields.name)}, which another key has.`, field: 'name' });
  const issued = await registry.createKey({ ...fields, upstreamCredential });
  changed(call, 'key.create', issued.view.name, null, keyJson(issued.view));
  return { ...issuedReply(issued), head: ['Location', `keys/${encodeURIComponent(issued.view.name)}`] };
};

export const rotateKey: Method = async (call, services) => {
  const before = changeable(call, services);
  const { overlap } = await fieldsOf(call, rotation);
  const issued = await services.registry.rotateKey(call.name, overlap);
  changed(call, 'key.rotate', call.name, before, keyJson(issued.view));
  return issuedReply(issued);
};

export const changeKey: Method = async (call, services) => {
  const before = changeable(call, services);
  const wanted = keyChange(() => calendarOf(services.core.clock).now());
  const fields = Object.entries(await fieldsOf(call, wanted)).filter(([, value]) => value !== undefined);
  if (fields.length === 0) throw invalid('body', `some of ${Object.keys(wanted.shape).join(', ')}`, 'none', { disabled: true });
  const after = await services.registry.changeKey(call.name, Object.fromEntries(fields));
  changed(call, 'key.change', call.name, before, keyJson(after));
  return { status: 200, body: keyJson(after) };
};

export const removeKey: Method = async (call, services) => {
  const before = changeable(call, services);
  await services.registry.removeKey(call.name);
  changed(call, 'key.remove', call.name, before, null);
  return { status: 204 };
};

const find = ({ name }: Call, { registry }: AdminServices): KeyView | undefined => registry.keys().find((view) => view.name === name);

/** Checks that a key can be changed. @returns the key before the change; null when another instance has created it a moment ago. */
function changeable(call: Call, services: AdminServices): object | null {
  const view = find(call, services);
  if (view?.source === 'config') throw new HeimdallError('conflict', { message: 'This key stands in the configuration and is changed there.' });
  return view === undefined ? null : keyJson(view);
}

const issuedReply = ({ key: plain, view }: IssuedKey): Reply => ({ status: 201, body: { key: plain, ...keyJson(view) } });

const sealed = { ...credential(), example: 'sk-…' };

const newKey = (now: () => number) =>
  z.strictObject({
    name: required(text('a name', 'team-a'), 'Unique name'),
    expires: key(orNull(moment(now)), null, 'When it ends'),
    models: list(text('the name of a model', 'gpt-4o-mini'), [], 'Models it may use; empty means all'),
    cidrs: list(network('10.0.0.0/8'), [], 'Addresses it may come from; empty means all'),
    upstream_credential: key(orNull(sealed), null, 'NewAPI token sent in its place'),
    honey: key(strictly(flag(), 'boolean'), false, 'A trap'),
    ...keyLimits,
  });

const rotation = z.strictObject({ overlap: key(duration('1h', 0), 0, 'How long the old key stays good') });

const keyChange = (now: () => number) =>
  z.strictObject({
    disabled: required(strictly(flag(), 'boolean'), 'Refuses it without forgetting it').optional(),
    expires: required(orNull(moment(now)), 'When it ends').optional(),
    models: list(text('the name of a model', 'gpt-4o-mini'), [], 'Models it may use').unwrap().optional(),
    cidrs: list(network('10.0.0.0/8'), [], 'Addresses it may come from').unwrap().optional(),
    requests: keyLimits.requests.unwrap().optional(),
    tokens: keyLimits.tokens.unwrap().optional(),
    concurrency: keyLimits.concurrency.unwrap().optional(),
    budget: keyLimits.budget.unwrap().optional(),
  });
