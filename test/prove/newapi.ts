import { existsSync } from 'node:fs';
import { callsProof } from './newapi/calls.ts';
import { carriersProof } from './newapi/carriers.ts';
import { groupProof, pricesProof } from './newapi/prices.ts';
import { browserProof } from './newapi/browser.ts';
import { openScene } from './newapi/scene.ts';
import type { Finding } from './proof.ts';

/**
 * The gate before a real NewAPI, which `NEWAPI_START` starts: whom NewAPI's own log names is whom the gate recorded, for
 * every carrier and pair of carriers of a credential; what it charged is what the gate counted; every kind of call is answered as without the gate; its web UI works.
 */
export async function newapi(): Promise<Finding> {
  const start = process.env['NEWAPI_START'];
  if (start === undefined || !existsSync(start)) return { rows: [{ skipped: 'NEWAPI_START names no script that starts a NewAPI' }], bar: 'skipped: there is no NewAPI to start', holds: true };
  const scene = await openScene(start);
  try {
    const prices = [...(await pricesProof(scene)), ...(await groupProof(scene, 'vip'))];
    console.table(prices);
    const carriers = await carriersProof(scene);
    console.table(carriers);
    const calls = await callsProof(scene);
    console.table(calls);
    const pages = await browserProof(scene);
    const mispriced = prices.filter(({ differs }) => differs !== 0).length;
    const wrong = carriers.reduce((sum, row) => sum + Number(row['another identity']), 0);
    const differing = calls.filter(({ differs }) => differs !== '').length;
    const broken = pages.filter(({ differs }) => differs !== '').length;
    return { rows: pages, bar: `no cost differs from what NewAPI charged (${mispriced} of ${prices.length}), no caller taken for another (${wrong}), no call differs (${differing} of ${calls.length}), no page differs (${broken} of ${pages.length})`, holds: mispriced + wrong + differing + broken === 0 };
  } finally {
    await scene.close();
  }
}
