import './support/node.ts';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const map = readFileSync(join(root, 'lib/README.md'), 'utf8');
const named = [...map.matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text);
/** What will be there one day, and what a reader fills in. */
const isPattern = (path: string): boolean => path.includes('NAME');

describe('the map of lib', () => {
  it('names every room, and no other', () => {
    const rooms = readdirSync(join(root, 'lib'), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => `${name}/`);
    const table = [...map.matchAll(/^\| `([a-z-]+\/)` \|/gm)].map(([, room = '']) => room);
    assert.deepEqual(table.toSorted(), rooms.toSorted());
  });

  it('names files that exist', () => {
    const paths = named.filter((text) => /^(?:lib|test|types)\/[\w./-]+$/.test(text) && !isPattern(text));
    assert.ok(paths.length > 30);
    assert.deepEqual(paths.filter((path) => !existsSync(join(root, path))), []);
  });

  it('names every file at the root of lib', () => {
    const loose = readdirSync(join(root, 'lib')).filter((name) => name.endsWith('.ts')).map((name) => `lib/${name}`);
    assert.deepEqual(loose.filter((path) => !named.includes(path)), []);
  });
});
