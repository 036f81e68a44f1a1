import assert from 'node:assert/strict';
import { renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { placeOf, Places, whyNoPlaces } from '../../lib/anomaly/places.ts';
import { temporary } from '../support/gate.ts';
import { mmdbOf } from '../support/mmdb.ts';

const berlin = { country: { iso_code: 'DE' }, autonomous_system_number: 3320, autonomous_system_organization: 'Deutsche Telekom AG' };
const none = { asn: null, organization: null, country: null, hosting: null };

describe('rows of several providers', () => {
  const rows: readonly (readonly [provider: string, row: Parameters<typeof placeOf>[0], place: object | null])[] = [
    ['GeoLite2-ASN', { autonomous_system_number: 13335, autonomous_system_organization: 'CLOUDFLARENET' }, { ...none, asn: 13335, organization: 'CLOUDFLARENET' }],
    ['GeoLite2-Country', { country: { iso_code: 'BR' }, registered_country: { iso_code: 'US' } }, { ...none, country: 'BR' }],
    ['GeoIP2-Enterprise', { country: { iso_code: 'US' }, traits: { autonomous_system_number: 16509, autonomous_system_organization: 'AMAZON-02', user_type: 'hosting' } }, { asn: 16509, organization: 'AMAZON-02', country: 'US', hosting: true }],
    ['GeoIP2-Anonymous-IP', { is_hosting_provider: true }, { ...none, hosting: true }],
    ['IPinfo Lite', { asn: 'AS15169', as_name: 'Google LLC', country: 'United States', country_code: 'US' }, { asn: 15169, organization: 'Google LLC', country: 'US', hosting: null }],
    ['IPinfo privacy', { hosting: 'true' }, { ...none, hosting: true }],
    ['IP2Location', { country_code: 'JP', asn: '2516', usage_type: 'ISP' }, { ...none, asn: 2516, country: 'JP', hosting: false }],
    ['nothing of use', { city: { names: { en: 'Bonn' } }, country: 'Germany' }, null],
  ];
  for (const [provider, row, place] of rows) it(provider, () => assert.deepEqual(placeOf(row), place));
});

describe('the file', () => {
  it('is read, taken up anew, and kept when the next one is broken', (t) => {
    const path = join(temporary(t), 'places.mmdb');
    const said: (string | null)[] = [];
    const put = (bytes: Buffer, modified: number): void => {
      writeFileSync(`${path}.new`, bytes);
      utimesSync(`${path}.new`, modified, modified);
      renameSync(`${path}.new`, path);
    };
    put(mmdbOf({ '192.0.2.0/24': berlin }), 1000);
    const places = new Places(path, (problem) => said.push(problem));
    assert.deepEqual(places.of('192.0.2.77', 0), { asn: 3320, organization: 'Deutsche Telekom AG', country: 'DE', hosting: null });
    assert.equal(places.of('198.51.100.1', 1), null);
    assert.equal(places.of('2001:db8::1', 1), null);
    put(mmdbOf({ '192.0.2.0/24': { country: { iso_code: 'FR' } } }), 2000);
    assert.equal(places.of('192.0.2.77', 59_000)?.country, 'DE');
    assert.equal(places.of('192.0.2.77', 60_000)?.country, 'FR');
    put(Buffer.from('no such format'), 3000);
    assert.equal(places.of('192.0.2.77', 120_000)?.country, 'FR');
    put(mmdbOf({ '192.0.2.0/24': { country: { iso_code: 'IT' } } }), 4000);
    assert.equal(places.of('192.0.2.77', 180_000)?.country, 'IT');
    put(mmdbOf({ '192.0.2.0/24': berlin }), 5000);
    assert.equal(places.of('192.0.2.77', 240_000)?.country, 'DE');
    assert.equal(said.length, 2, 'a renewal is no news');
    assert.match(String(said[0]), /no file in MaxMind's format/);
    assert.equal(said[1], null);
  });

  it('that cannot even be looked at is said once, and ends nothing', (t) => {
    const path = join(temporary(t), 'places.mmdb');
    symlinkSync(path, path);
    const said: (string | null)[] = [];
    const places = new Places(path, (problem) => said.push(problem));
    assert.deepEqual([places.of('192.0.2.1', 0), places.of('192.0.2.1', 60_000)], [null, null]);
    assert.deepEqual(said, ['it cannot be read, ELOOP']);
  });

  const broken: readonly (readonly [what: string, bytes: Buffer | null, why: RegExp])[] = [
    ['there is none', null, /there is no such file/],
    ['it is empty', Buffer.alloc(0), /no file in MaxMind's format/],
    ['it is text', Buffer.from('192.0.2.0/24,DE\n'.repeat(100)), /no file in MaxMind's format/],
    ['it is cut', mmdbOf({ '192.0.2.0/24': berlin }).subarray(0, 200), /no file in MaxMind's format/],
  ];
  for (const [what, bytes, why] of broken) {
    it(`says why it is of no use: ${what}`, (t) => {
      const path = join(temporary(t), 'places.mmdb');
      if (bytes !== null) writeFileSync(path, bytes);
      assert.match(String(whyNoPlaces(path)), why);
      const said: (string | null)[] = [];
      assert.equal(new Places(path, (problem) => said.push(problem)).of('192.0.2.1', 0), null);
      assert.equal(said.length, 1);
    });
  }
});
