import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import type { Detector, Evidence, Signal } from '../../types/detector.d.ts';
import { Cohort } from '../../lib/anomaly/cohort.ts';
import { detectorsOf } from '../../lib/anomaly/detectors/detectors.ts';
import { networksOf, platformOf, signalColumns, signalOf as signalOfRow } from '../../lib/anomaly/signals.ts';
import { Watch } from '../../lib/anomaly/watch.ts';

const { caller, network, content } = detectorsOf({ spend: new Cohort(0.001, 0.95, 200, 4), requests: new Cohort(1, 0.95, 200, 400) });
const all = [...caller, ...network, ...content] as unknown as readonly Detector<unknown>[];

/** The numbers that each detector takes as evidence. */
const fields: Readonly<Record<string, readonly string[]>> = {
  shared_key: ['returns', 'strangeReturns', 'together', 'devices', 'networks', 'sessions', 'homes', 'daysApart', 'stranger', 'habits', 'networksInTurn'],
  stolen_key: ['novelty', 'spend', 'share', 'stays'],
  spend_velocity: ['burst', 'sustained'],
  request_rate: ['burst', 'sustained'],
  failure_burst: ['failures'],
  impossible_travel: ['returns'],
  client_forgery: ['requests'],
  credential_stuffing: ['tokens'],
  key_spraying: ['strangers'],
  scanning: ['paths'],
  content_repetition: ['callers', 'times'],
};

const base: Signal = {
  requestId: 'r', time: Date.UTC(2026, 0, 5, 10), duration: 900, caller: { kind: 'key', id: 'team' }, refusedToken: null, network: '192.0.2.0/24', near: '192.0.0.0/16', country: null,
  client: 'claude-cli', platform: 'linux x64', device: null, home: null, endUser: false, automated: false, forged: false, session: null, model: 'm', route: '/v1/messages', path: '/v1/messages', failed: false, tokens: 20_000, cost: 0.01,
  size: 60_000, content: null,
};

/** What is said of requests a few seconds apart. */
function rulesOf(requests: readonly Partial<Signal>[], gap = 5000): string[] {
  const watch = new Watch();
  return [...new Set(requests.flatMap((each, at) => watch.observe({ ...base, ...each, time: base.time + at * gap, requestId: `r${at}` }).map(({ rule }) => rule)))];
}

const times = <T>(count: number, of: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => of(at));

describe('every detector', () => {
  it('has its fields in this test', () => assert.deepEqual(all.map(({ name }) => name).sort(), Object.keys(fields).sort()));

  for (const detector of all) {
    it(`${detector.name} never scores less for more evidence`, () => {
      const amount = fc.double({ min: 0, max: 5000, noNaN: true });
      const evidence = fc.record(Object.fromEntries((fields[detector.name] as readonly string[]).map((name) => [name, amount])));
      fc.assert(fc.property(evidence, evidence, (before, added) => {
        const more: Evidence = Object.fromEntries(Object.entries(before).map(([name, value]) => [name, (value as number) + (added[name] as number)]));
        const [less, greater] = [detector.score(before as Evidence).score, detector.score(more).score];
        return less <= greater && less >= 0 && greater <= 100;
      }), { numRuns: 200 });
    });
  }
});

describe('what a gate sees of one key', () => {
  const device = (name: string, more: Partial<Signal> = {}): Partial<Signal> => ({ device: name, ...more });
  const cases: readonly (readonly [what: string, requests: readonly Partial<Signal>[], rules: readonly string[]])[] = [
    ['two devices in turn', times(20, (at) => device(at % 2 === 0 ? 'a' : 'b')), ['shared_key']],
    ['one device, then another', times(20, (at) => device(at < 10 ? 'a' : 'b')), []],
    ['one device in many networks', times(40, (at) => device('a', { near: `10.${at % 7}.0.0/16`, network: `10.${at % 7}.1.0/24` })), []],
    ['two devices of one home, some turns', times(8, (at) => device(at % 2 === 0 ? 'a' : 'b', { home: 'h' })), []],
    ['sixty devices in sixty networks', times(60, (at) => device(`d${at}`, { near: `10.${at}.0.0/16`, network: `10.${at}.1.0/24` })), ['shared_key']],
    ['two homes in turn', times(6, (at) => ({ client: 'qwencode', home: at % 2 === 0 ? 'a' : 'b' })), ['shared_key']],
    ['one home', times(40, () => ({ client: 'qwencode', home: 'a' })), []],
    ['a person and a job in turn', times(20, (at) => device(at % 2 === 0 ? 'a' : `job${at}`, { automated: at % 2 === 1 })), []],
    ['forty sessions at once', times(40, (at) => ({ session: `s${at}` })), ['shared_key']],
    ['one client over IPv4 and IPv6', times(40, (at) => ({ near: at % 2 === 0 ? '192.0.0.0/16' : '2001:db8::/32', network: at % 2 === 0 ? '192.0.2.0/24' : '2001:db8:0:100::/56' })), []],
    ['failures without end', times(400, () => ({ failed: true, tokens: 0, cost: 0 })), ['failure_burst']],
    ['a client that is not what it says', times(3, () => ({ forged: true })), ['client_forgery']],
    ['one test with a copied user agent', [{ forged: true }], []],
    ['countries in turn for hours', times(40, (at) => ({ country: at % 2 === 0 ? 'DE' : 'BR' })), ['impossible_travel']],
  ];
  for (const [what, requests, rules] of cases) it(`${what}: ${rules.join(', ') || 'nothing'}`, () => assert.deepEqual(rulesOf(requests, what.startsWith('countries') ? 700_000 : what.startsWith('failures') ? 1000 : 5000), rules));
});

describe('what a gate sees of one key over days', () => {
  const at = (name: string, network: number, more: Partial<Signal> = {}): Partial<Signal> => ({ home: name, near: `10.${network}.0.0/16`, network: `10.${network}.1.0/24`, ...more });
  const user = (name: string, network: number): Partial<Signal> => at(name, network, { endUser: true, client: 'openai-python' });
  const cases: readonly (readonly [what: string, requests: readonly Partial<Signal>[], rules: readonly string[]])[] = [
    ['two homes in networks apart, in turn on two days', [at('a', 1), at('b', 2), at('a', 1), at('b', 2)], ['shared_key']],
    ['a home that moved', [at('a', 1), at('a', 1), at('b', 2), at('b', 2), at('b', 2)], []],
    ['two homes of one network that travel', [at('a', 1), at('b', 1), at('a', 1), at('b', 2), at('a', 1), at('b', 2)], []],
    ['two end users in networks apart', [user('a', 1), user('b', 2), user('a', 1), user('b', 2)], ['shared_key']],
    ['a service with many end users in several networks', times(40, (each) => user(`u${each % 9}`, each % 2)), []],
  ];
  const half = 43_200_000;
  for (const [what, requests, rules] of cases) it(`${what}: ${rules.join(', ') || 'nothing'}`, () => assert.deepEqual(rulesOf(requests, half), rules));

  /** Two devices in turn, sixty times, after days on which each was used by itself. @returns the highest score. */
  const scoreAfter = (days: number, network: (device: number) => number, more: (device: number) => Partial<Signal> = () => ({}), jobs = 0): number => {
    const watch = new Watch(1);
    const day = 86_400_000;
    const one = (device: number, time: number): number => Math.max(0, ...watch.observe({ ...base, near: `10.${network(device)}.0.0/16`, network: `10.${network(device)}.1.0/24`, device: `d${device}`, ...more(device), time }).filter(({ rule }) => rule === 'shared_key').map(({ score }) => score));
    for (let past = 0; past < days; past++) {
      for (const device of [0, 1]) one(device, base.time + past * day + device * 7_200_000);
      for (let job = 0; job < jobs; job++) watch.observe({ ...base, device: `job ${past} ${job}`, automated: true, time: base.time + past * day + 40_000_000 + job });
    }
    return Math.max(...times(60, (at) => one(at % 2, base.time + days * day + at * 5000)));
  };
  const strangers: readonly (readonly [what: string, score: number])[] = [
    ['a key that two people share from its first day', scoreAfter(0, () => 1)],
    ['a second person in another network', scoreAfter(2, (device) => device)],
  ];
  for (const [what, score] of strangers) it(`may freeze ${what}`, () => assert.ok(score >= 96, String(score)));
  const owned: readonly (readonly [what: string, score: number])[] = [
    ['two machines that were in one network the days before', scoreAfter(2, () => 1)],
    ['two machines with two account names there', scoreAfter(2, () => 1, (device) => ({ home: `h${device}` }))],
    ['two machines of one account name', scoreAfter(0, (device) => device, () => ({ home: 'h' }))],
    ['two machines beside thirty jobs a day', scoreAfter(2, () => 1, () => ({}), 30)],
  ];
  for (const [what, score] of owned) it(`never slows ${what}`, () => assert.ok(score >= 50 && score < 80, String(score)));

  it('flags servers in five networks in turn, and no more', () => {
    const watch = new Watch();
    const verdicts = times(400, (at) => watch.observe({ ...base, client: 'openai-python', near: `10.${at % 5}.0.0/16`, network: `10.${at % 5}.1.0/24`, time: base.time + at * 5000 })).flat();
    assert.deepEqual([new Set(verdicts.map(({ reason }) => reason)), new Set(verdicts.map(({ most }) => most))], [new Set(['networks_in_turn']), new Set(['flag'])]);
  });

  /** Chat programs send no id: a sitting of three requests in each row. */
  const sittings = (rows: readonly (readonly [hour: number, network: number, model: string, more?: Partial<Signal>])[]): readonly { rule: string; reason: string; most: string; score: number }[] => {
    const watch = new Watch();
    return rows.flatMap(([hour, network, model, more = {}]) => times(3, (each) => each).flatMap((each) => watch.observe({ ...base, client: 'cherry', near: `10.${network}.0.0/16`, network: `10.${network}.1.0/24`, model, ...more, time: base.time + hour * 3_600_000 + each * 60_000 })));
  };
  const days = (count: number, of: (day: number) => readonly (readonly [hour: number, network: number, model: string, more?: Partial<Signal>])[]): ReturnType<typeof sittings> => sittings(times(count, of).flat());
  const windows = { platform: 'windows x64' };
  const quiet: readonly (readonly [what: string, verdicts: ReturnType<typeof sittings>])[] = [
    ['one model in two networks', days(8, (day) => [[day * 24, 1, 'a'], [day * 24 + 6, 2, 'a']])],
    ['a model that was given up', days(8, (day) => [[day * 24, 1, day < 4 ? 'a' : 'b'], [day * 24 + 6, 2, day < 4 ? 'a' : 'b']])],
    ['two models in one network', days(8, (day) => [[day * 24, 1, 'a'], [day * 24 + 6, 1, 'b', windows]])],
    ['a journey with another model', days(8, (day) => [[day * 24, day === 4 ? 2 : 1, day === 4 ? 'b' : 'a']])],
    ['a program on two servers', days(4, (day) => times(24, (hour) => [day * 24 + hour, hour % 2, hour % 2 === 0 ? 'a' : 'b']))],
  ];
  for (const [what, verdicts] of quiet) it(`says nothing of a chat program with ${what}`, () => assert.deepEqual(verdicts, []));

  it('flags two people in chat programs who come in turn on some days, each with a model of their own, and no more', () => {
    const verdicts = days(4, (day) => [[day * 24, 1, 'a'], [day * 24 + 3, 2, 'b', windows]]);
    assert.deepEqual([new Set(verdicts.map(({ reason }) => reason)), new Set(verdicts.map(({ most }) => most))], [new Set(['habits_apart']), new Set(['flag'])]);
    assert.ok(verdicts.every(({ score }) => score < 80));
  });

  it('flags a stranger with another account name who stays, and not one who is seen once', () => {
    const reasonsOf = (requests: number): string[] => {
      const watch = new Watch();
      for (let each = 0; each < 40; each++) watch.observe({ ...base, ...at('a', 1, { device: 'a' }), time: base.time + (each % 4) * 86_400_000 + each * 60_000 });
      const verdicts = times(requests, (each) => watch.observe({ ...base, ...at('b', 2, { device: 'b', model: 'other' }), time: base.time + 5 * 86_400_000 + each * 600_000 })).flat();
      return [...new Set(verdicts.map(({ reason, most, score }) => `${reason} ${most} ${score < 80}`))];
    };
    assert.deepEqual([reasonsOf(2), reasonsOf(8)], [[], ['stranger_stays flag true']]);
  });

  it('acts on a first sight of a stranger only when he also spends', () => {
    const scoreOf = (evidence: Evidence): number => all.find(({ name }) => name === 'stolen_key')?.score(evidence).score ?? 0;
    const sight = { novelty: 112, spend: 0, share: 0, stays: 0 };
    assert.deepEqual([scoreOf(sight) > 70, scoreOf(sight) < 80, scoreOf({ ...sight, spend: 10 }) >= 80], [true, true, true]);
  });

  it('judges a key by one day long ago, where that had many requests', () => {
    const stranger = { ...at('b', 2), client: 'curl', platform: 'windows x64', device: 'x', model: 'other', tokens: 10, size: 100 };
    const rulesAfter = (requests: number, days: number): string[] => {
      const watch = new Watch();
      for (let each = 0; each < requests; each++) watch.observe({ ...base, ...at('a', 1), time: base.time + each * 60_000 });
      return watch.observe({ ...base, ...stranger, time: base.time + days * 86_400_000 }).map(({ rule }) => rule);
    };
    assert.deepEqual([rulesAfter(40, 4), rulesAfter(40, 1), rulesAfter(10, 4)], [['stolen_key'], [], []]);
  });
});

describe('what a gate sees of one network', () => {
  const refused = (at: number): Partial<Signal> => ({ caller: null, refusedToken: `t${at}`, failed: true, tokens: 0, cost: 0, size: 100 });
  it('finds many refused credentials', () => assert.deepEqual(rulesOf(times(30, refused)), ['credential_stuffing']));
  it('finds no harm in one that is tried again and again', () => assert.deepEqual(rulesOf(times(30, () => refused(1))), []));
  it('finds many unknown paths', () => assert.deepEqual(rulesOf(times(40, (at) => ({ caller: null, route: null, path: `/x${at}`, failed: true }))), ['scanning']));
  it('finds many good keys that each send one tiny request', () => assert.deepEqual(rulesOf(times(20, (at) => ({ caller: { kind: 'key', id: `k${at}` }, client: 'curl', tokens: 5, cost: 0, size: 90 }))), ['key_spraying']));
  it('finds no harm in an office whose people work', () => assert.deepEqual(rulesOf(times(200, (at) => ({ caller: { kind: 'key', id: `k${at % 50}` }, device: `d${at % 50}` }))), []));
});

describe('the signal of a record', () => {
  const row = {
    id: 1, request_id: '019b8a3c-0000-7000-8000-000000000000', timestamp: 1, response_status: 200, response_time: 5, outcome: 'served', client: 'codex/0', user_agent: 'codex_exec/0.1 (Debian 12; x86_64)', model: 'm', stream: 0,
    route: '/v1/responses', prompt_tokens: 10, completion_tokens: 5, cost: null, bytes_in: 40_000, bytes_out: 10, key_id: null, token_id: 'ab', request_path: '/v1/responses', real_ip: '192.0.2.9', country: null,
    content_fingerprint: null, device_id: 'd', session_id: 's', home_id: null, source: 'gate', request_headers: null,
  };
  const signalOf = (of: Partial<typeof row> | object): Signal => signalOfRow(signalColumns.map((name) => (of as Record<string, string | number | null>)[name] ?? null));

  it('names the caller by its key, else by its token', () => {
    assert.deepEqual([signalOf(row).caller, signalOf({ ...row, key_id: 'team' }).caller], [{ kind: 'token', id: 'ab' }, { kind: 'key', id: 'team' }]);
  });
  it('names no caller for a refused credential', () => {
    const { caller: none, refusedToken } = signalOf({ ...row, response_status: 401 });
    assert.deepEqual([none, refusedToken], [null, 'ab']);
  });
  it('takes an id of a program that is no agent for an end user', () => {
    const named = signalOf({ ...row, client: 'openai-python/1', home_id: 'h' });
    assert.deepEqual([named.home, named.endUser, signalOf({ ...row, home_id: 'h' }).endUser, signalOf(row).endUser], ['h', true, false, false]);
  });
  it('tells programs of one system apart by JA4, whatever the version of HTTP', () => {
    const of = (ja4: string | null): string => signalOf({ ...row, ja4 }).platform;
    assert.deepEqual([of('t13d1516h2_8daaf6152771_02713d6af862') === of('t13d1516h1_8daaf6152771_02713d6af862'), of('t13d1516h2_8daaf6152771_02713d6af862') === of(null)], [true, false]);
  });
  it('takes a large request of an agent without a home for a job', () => assert.deepEqual([signalOf(row).automated, signalOf({ ...row, home_id: 'h' }).automated, signalOf({ ...row, bytes_in: 200 }).automated], [true, false, false]));
  /** What Claude Code sends, by `reference` of real runs; header values are kept for an allow-list of names. */
  const forgeries: readonly (readonly [what: string, of: Partial<Record<keyof typeof row, string | null>>, forged: boolean])[] = [
    ['Claude Code', { client: 'claude-cli/2', route: '/v1/messages', request_headers: '{"x-stainless-os":"Linux","anthropic-beta":"claude-code-20250219"}' }, false],
    ['Claude Code behind a proxy that drops headers', { client: 'claude-cli/2', route: '/v1/messages', request_headers: '{"accept":"*/*"}' }, false],
    ['curl as Claude Code', { client: 'claude-cli/2', route: '/v1/messages', request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, true],
    ['curl as Claude Code, to a path of OpenAI', { client: 'claude-cli/2', route: '/v1/chat/completions', request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, true],
    ['Claude Code whose headers are not kept', { client: 'claude-cli/2', request_headers: null, device_id: null, session_id: null }, false],
    ['its HEAD / and what else names no model', { client: 'claude-cli/2', model: null, request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, false],
    ['Codex', { client: 'codex-cli/0', request_headers: '{"accept":"*/*"}', device_id: null }, false],
    ['curl as Codex', { client: 'codex-cli/0', request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, true],
    ['Qwen Code', { client: 'qwencode/0', route: '/v1/chat/completions', request_headers: '{"x-stainless-lang":"js"}', device_id: null, session_id: null }, false],
    ['curl as Qwen Code', { client: 'qwencode/0', route: '/v1/chat/completions', request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, true],
    ['curl as itself', { client: 'curl/8', request_headers: '{"accept":"*/*"}', device_id: null, session_id: null }, false],
  ];
  for (const [what, of, forged] of forgeries) it(`takes ${what} for ${forged ? 'forged' : 'what it says'}`, () => assert.equal(signalOf({ ...row, ...of }).forged, forged));
  it('finds networks', () => {
    assert.deepEqual(networksOf('192.0.2.9'), { network: '192.0.2.0/24', near: '192.0.0.0/16' });
    assert.deepEqual(networksOf('2001:db8:1:2ff::7'), { network: '2001:db8:1:200::/56', near: '2001:db8::/32' });
  });
  it('finds systems', () => assert.deepEqual(['QwenCode/0.15 (linux; x64)', 'x (Macintosh; Intel Mac OS X)', 'curl/8'].map(platformOf), ['linux x64', 'mac', '']));
});
