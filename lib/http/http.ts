// Headers and bodies of HTTP messages: reading, writing, decompressing. Independent of the gate's rules, apart from its error table.

export { ChunkCollector, CompactBody } from './body-memory.ts';
export { BodyDecoder, decoded } from './content-coding.ts';
export { codingsOf, headerOf, headProblem, mediaTypeOf, withoutField } from './head.ts';
export { encodePath, readPath, type RequestPath } from './path.ts';
export { endOfValue, skipSpace } from './json-scan.ts';
export { BodyInspector, bodyTaken, type BodyReading, keepRawBody, readBody } from './request-body.ts';
