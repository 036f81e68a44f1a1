import assert from 'node:assert/strict';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

/** Imported by a suite, it says in one line what otherwise shows as a hundred odd failures: the Node is too old. */
assert.ok(major > 24 || (major === 24 && minor >= 9), `Expected Node 24.9 or later, got ${process.version}. Run: npm test`);
