import { key, section } from './fields.ts';
import { choice, flag, orNull, text } from './value-types.ts';

const actions = ['none', 'flag', 'slow', 'limit', 'freeze'] as const;

/** A rule, with the highest action that it may take. */
const rule = (most: (typeof actions)[number], summary: string) =>
  section('AnomalyRule', summary, { action: key(choice(actions, 'AnomalyAction'), most, 'Highest action. none ignores the rule, flag only reports, slow delays each request, limit lets one request a minute through, freeze refuses the caller') });

/** The section `anomaly`: the watch over shared and stolen keys. */
export const anomaly = section('AnomalyConfig', 'The watch: finds shared, stolen and abused keys', {
  mode: key(choice(['off', 'shadow', 'enforce']), 'shadow', 'off judges nothing, shadow reports what it would do, enforce acts. Every action ends by itself and can be undone'),
  api: key(flag(), false, 'Answers the paths of the original, /api/anomaly/*, with the admin token, in place of NewAPI'),
  mmdb: key(orNull(text('a path', 'data/country-asn.mmdb')), null, 'File in MaxMind\'s format that says where addresses are: country, autonomous system, hosting. It is shown with findings and callers, and gives impossible_travel its countries. A newer file is taken up by itself'),
  rules: section('AnomalyRules', 'The rules of the watch', {
    sharedKey: rule('freeze', 'One key behind which several people work'),
    stolenKey: rule('freeze', 'A network, a client and a model that the key never had'),
    spendVelocity: rule('limit', 'Spending far above what the key and all others ever spent'),
    requestRate: rule('limit', 'Requests far above what the key and all others ever sent'),
    credentialStuffing: rule('limit', 'Many refused credentials from one network'),
    keySpraying: rule('limit', 'One network that tries many good keys'),
    failureBurst: rule('slow', 'Nearly every request fails'),
    contentRepetition: rule('slow', 'One body over many keys, or without end'),
    scanning: rule('limit', 'Many unknown paths from one network'),
    leakedKey: rule('freeze', 'A key that was reported as leaked. Unlike other rules it acts in every mode, until it is undone or rotated'),
    honeyKey: rule('flag', 'A honey key was used'),
    clientForgery: rule('flag', 'A client that says it is Claude Code, Codex or Qwen Code, and lacks what that one always sends. It never does more than flag'),
    impossibleTravel: rule('flag', 'Countries in turn within an hour'),
  }),
});
