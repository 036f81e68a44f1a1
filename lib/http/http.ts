// Headers and bodies of HTTP messages: reading, writing, decompressing. Independent of the gate's rules, apart from its error table.

export { BodyDecoder, decoded } from './content-coding.ts';
export { codingsOf, encodePath, headerOf, headProblem, mediaTypeOf, readPath, withoutField, type RequestPath } from './head.ts';
export { endOfValue, skipSpace } from './json-scan.ts';
export { BodyInspector, bodyTaken, ChunkBrake, ChunkCollector, CompactBody, keepRawBody, readBody, type BodyReading } from './request-body.ts';
