import { z } from 'zod';
import { choice, flag, key, orNull, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { invalid, banJson } from '../registry/registry.ts';
import { changed, fieldsOf, holdsOf, type Method } from './call.ts';
import { iso, moment, strictly } from './fields.ts';
import { calendarOf } from '../platform/platform.ts';

/** `GET bans`. `available`: see `GET keys`. `holds`: whether they hold on all instances, which share a Redis, or on this one alone. */
export const listBans: Method = (_call, services) => ({ status: 200, body: { bans: services.registry.bans().map(banJson), holds: holdsOf(services), available: services.registry.problem === null } });

export const ban: Method = async (call, { core, registry }) => {
  const { kind, expires, ...rest } = await fieldsOf(call, newBan(() => calendarOf(core.clock).now()));
  if (expires !== null && expires <= calendarOf(core.clock).now()) throw invalid('expires', 'a moment to come', iso(expires) ?? '', '24h');
  const made = await registry.ban({ ...rest, expires, ...(kind === null ? {} : { kind }) });
  changed(call, 'ban.create', made.value, null, banJson(made));
  return { status: 201, body: banJson(made), head: ['Location', `bans/${encodeURIComponent(made.id)}`] };
};

export const unban: Method = async (call, { registry }) => {
  const before = registry.bans().filter(({ id, value }) => id === call.name || value === call.name);
  if ((await registry.unban(call.name)) === 0) throw new HeimdallError('not_found', { message: 'There is no ban of that id or value.' });
  changed(call, 'ban.remove', call.name, { bans: before.map(banJson) }, null);
  return { status: 204 };
};

const newBan = (now: () => number) =>
  z.strictObject({
    value: required(text('an address, a CIDR, the name of a key or of a user (user:ID), or the 16 hex digits of a token identity', '203.0.113.7'), 'Who may not call'),
    kind: key(orNull(choice(['address', 'key', 'token'])), null, 'What the value is, where its form does not say it'),
    reason: key(strictly(text('text', 'leaked on a forum', /^/), 'string'), '', 'Why, for people'),
    expires: key(orNull(moment(now)), null, 'When it ends'),
    force: key(strictly(flag(), 'boolean'), false, 'Bans what is probably a mistake too, such as a loopback address'),
  });
