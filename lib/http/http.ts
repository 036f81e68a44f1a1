// Headers and bodies of HTTP messages: reading, writing, decompressing. Independent of the gate's rules, apart from its error table.

export { languageOf, prefersHtml, type Language } from './accept.ts';
export { BodyDecoder, decoded } from './content-coding.ts';
export { bodyKind, type BodyKind, codingsOf, contentStart, encodePath, eventStream, headerOf, headProblem, mediaTypeOf, readPath, withoutField, type RequestPath } from './head.ts';
export { elementsIn, endOfValue, MemberScan, outlineKinds, skipSpace } from './json-scan.ts';
export { BodyInspector, bodyTaken, ChunkBrake, CompactBody, freedByHand, handedOver, inCrumbs, keepRawBody, readBody, RequestBody, type BodyReader, type BodyReading, type BodySource } from './request-body.ts';
