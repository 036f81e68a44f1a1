// Heads and bodies as bytes: reads them, writes them, decompresses them. Knows nothing of this product but its error table.

export { BodyInspector } from './body-inspector.ts';
export { headerOf, withoutField, writeHead } from './head.ts';
export { endOfValue, skipSpace } from './json-scan.ts';
export { bodyTaken, keepRawBody, readBody } from './parsed-body.ts';
