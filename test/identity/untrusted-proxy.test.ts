import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { UntrustedProxyDetector } from '../../lib/identity/address.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

const forwarded = { 'x-forwarded-for': '203.0.113.9' };
const fromCdn = { ...forwarded, 'cf-connecting-ip': '203.0.113.9' };

function start({ header = null as string | null } = {}) {
  const clock = fakeClock();
  const log = recorder();
  const proxies = new UntrustedProxyDetector(log, ['loopback'], header);
  /** How many of so many requests met an address that stands for many. */
  const send = (count: number, peer: string, headers: Readonly<Record<string, string>> = forwarded, trusted = false): number =>
    Array.from({ length: count }, () => proxies.count(peer, trusted, headers, clock.now())).filter(Boolean).length;
  return { clock, log, send };
}

describe('a peer that nobody trusts and that sends forwarded headers', () => {
  it('is warned about once, with the line that mends it', () => {
    const { log, send } = start();
    send(3, '172.18.0.1');
    send(3, '10.0.0.7', { forwarded: 'for=203.0.113.9' });
    send(3, 'fd00::5', { 'x-real-ip': '203.0.113.9' });
    assert.deepEqual(log.named('address.untrusted_proxy').map(({ peer, fix }) => [peer, fix]), [
      ['172.18.0.1', 'trust_proxy: [loopback, 172.18.0.1]'],
      ['10.0.0.7', 'trust_proxy: [loopback, 10.0.0.7]'],
      ['fd00::5', 'trust_proxy: [loopback, fd00::5]'],
    ]);
  });

  it('is nobody to speak of when it is trusted, sends none, or comes from outside', () => {
    const { log, send } = start();
    assert.equal(send(50, '127.0.0.1', forwarded, true) + send(50, '172.18.0.1', {}) + send(50, '198.51.100.1', fromCdn), 0);
    assert.deepEqual(log.events, []);
  });

  it('is warned about however often its address changes, within bounds', () => {
    const { log, send } = start();
    for (let at = 0; at < 200; at++) send(1, `10.0.0.${at}`);
    assert.equal(log.named('address.untrusted_proxy').length, 20);
  });
});

describe('an address behind which most of the traffic hides', () => {
  it('is told of once, and stands for many from then on', () => {
    const { log, send } = start();
    assert.equal(send(49, '172.18.0.1'), 0);
    assert.equal(send(20, '172.18.0.1'), 20);
    assert.deepEqual(log.named('address.collapse').map(({ source, share, fix }) => [source, share, fix]), [['172.18.0.1', '100%', 'trust_proxy: [loopback, 172.18.0.1]']]);
  });

  it('is alone in that', () => {
    const { send } = start();
    send(80, '172.18.0.1');
    assert.equal(send(5, '172.18.0.2') + send(5, '198.51.100.1') + send(5, '172.18.0.1', {}), 0);
  });

  it('is none while it sends less than half', () => {
    const { log, send } = start();
    for (let round = 0; round < 100; round++) {
      send(1, '198.51.100.1', {});
      send(1, '172.18.0.1');
    }
    assert.deepEqual(log.named('address.collapse'), []);
  });

  it('is one no more after a minute in which most came by other ways, and still is after a quiet one', () => {
    const { clock, send } = start();
    send(80, '172.18.0.1');
    clock.tick(60_000);
    assert.equal(send(1, '172.18.0.1'), 1);
    clock.tick(60_000);
    assert.equal(send(1, '172.18.0.1'), 1);
    send(80, '198.51.100.1', {});
    clock.tick(60_000);
    assert.equal(send(1, '172.18.0.1'), 0);
  });

  it('may be a CDN with all its addresses, which the configuration can name', () => {
    for (const [header, fix] of [[null, 'trust_proxy: [loopback, cloudflare] and client_ip_header: cf-connecting-ip'], ['cf-connecting-ip', 'trust_proxy: [loopback, cloudflare]']] as const) {
      const { log, send } = start({ header });
      for (let at = 0; at < 80; at++) send(1, `162.158.0.${at}`, fromCdn);
      assert.equal(send(1, '2606:4700::1', fromCdn), 1);
      assert.deepEqual(log.named('address.collapse').map(({ source, fix: line }) => [source, line]), [['cloudflare', fix]]);
      assert.deepEqual(log.named('address.untrusted_proxy'), []);
    }
  });
});
