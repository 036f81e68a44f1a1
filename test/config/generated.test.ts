import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import type { derive } from '../../lib/config/derive.ts';
import { PARTS, SERIES } from '../../lib/config/schema.ts';
import type { Config, ConfigInput, MiddlewareName, SeriesName } from '../../types/config.d.ts';
import { configTypes, documents, envTable, fillDocument, readmeTable, schemaJson, moduleOf, modules } from '../generate.ts';

type Frozen<T> = T extends (...given: never[]) => unknown
  ? T
  : T extends readonly (infer Item)[]
  ? readonly Frozen<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Frozen<T[Key]> }
    : T;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** The compiler holds the written types to the schema's. */
const held: [
  Same<Frozen<ReturnType<typeof derive>>, Config>,
  Same<(typeof PARTS)[number], MiddlewareName>,
  Same<(typeof SERIES)[number], SeriesName>,
  [Config] extends [ConfigInput] ? true : false,
] = [true, true, true, true];

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8');
}

describe('what is generated from the schema', () => {
  it('is up to date: run node test/generate.ts', () => {
    assert.deepEqual(held, [true, true, true, true]);
    assert.equal(read('../../types/config.d.ts'), configTypes());
    assert.equal(read('../../types/heimdall.schema.json'), schemaJson());
    for (const path of documents) {
      const text = read(`../../${path}`);
      assert.match(text, /<!-- \w+:start -->/, path);
      assert.equal(text, fillDocument(text), path);
    }
  });

  it('has the code that is written as WebAssembly', async () => {
    for (const path of modules) assert.equal(read(`../../${path}.wasm.ts`), await moduleOf(path));
  });

  it('tells of every key in the tables', () => {
    for (const key of ['server.tls.min_version', 'auth.keys[].sha256', 'llm.timeouts.first_byte', 'rate_limit.address.window', 'llm.prices.<name>.cached'])
      assert.ok(readmeTable().includes(`| \`${key}\` |`), key);
    const filled = fillDocument('a\n<!-- config:start -->\nwhat was there\n<!-- config:end -->\nb');
    assert.ok(
      filled.startsWith('a\n<!-- config:start -->\n\n| variable |') &&
        filled.endsWith('\n<!-- config:end -->\nb') &&
        !filled.includes('what was there'),
    );
    assert.ok(envTable().includes('| `HEIMDALL_PORT` | `8000` | Port to listen on. 0 takes a free port (`server.port`) |'));
  });

  it('describes every key', () => {
    const silent: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null || !('properties' in node)) return;
      for (const [key, inner] of Object.entries(node.properties as Record<string, { description?: string; anyOf?: object[] }>)) {
        if (!inner.description && !inner.anyOf?.some((each) => 'description' in each)) silent.push(`${path}${key}`);
        visit(inner, `${path}${key}.`);
      }
    };
    visit(JSON.parse(schemaJson()), '');
    assert.deepEqual(silent, []);
  });

  it('gives editors a schema that accepts what loads and refuses what does not', () => {
    const editor = z.fromJSONSchema(JSON.parse(schemaJson()) as Parameters<typeof z.fromJSONSchema>[0]);
    const accepts = (yaml: string): boolean => editor.safeParse(parse(yaml)).success;
    for (const name of readdirSync(new URL('fixtures', import.meta.url))) assert.ok(accepts(read(`fixtures/${name}`)), name);
    for (const yaml of [
      'server:',
      'server: { port: "${PORT}" }',
      'llm: { weight: 2, api_key_file: /k }',
      'endpoints: { health: false }',
      'server: { middleware: [rate-limit] }',
      'retry: { max_retries: "${N}" }\nhealth_check: { threshold: 3, checks: { memory: system } }',
      'llm: { prices: { gpt-5*: { input: 1, output: 2.5 } }, stream_prelude_after: off, keep_alive_comments: 15s }',
    ])
      assert.ok(accepts(yaml), yaml);
    for (const yaml of [
      'servers: {}',
      'server: { prot: 1 }',
      'queue: { enable: true }',
      'server: { port: 70000 }',
      'mode: loud',
      'auth: { keys: [{ name: a }] }',
      'retry: { max_retires: 1 }',
      'llm: { prices: { a: { input: 1 } } }',
      'llm: { stream_prelude_after: never }',
      'health_check: { interval: 10 }',
    ])
      assert.ok(!accepts(yaml), yaml);
  });
});
