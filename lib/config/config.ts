// From text to a frozen `Config`: the schema, file and environment, and every problem at once.

export { INFLIGHT_SHARES, WEBSOCKET_SHARES } from './derive.ts';
export { key, list, required, type Mismatch } from './fields.ts';
export { hasLimits, keyLimits } from './limits.ts';
export { hostWarnings } from './host.ts';
export { isHere, isOwnPort, itself } from './pitfalls.ts';
export { modelName } from './llm.ts';
export { adopt, checkText, fileOf, filesOf, loadConfig, loadSettings, printable, readAgain, resolveConfig, type Settings, succeed, warningsOf } from './load.ts';
export { valueAt } from './paths.ts';
export { isStatus } from './provider.ts';
export { proxyEnvironment, proxyWarnings } from './proxy.ts';
export { HANDLERS, METHODS, methodsOf, pathOf } from './routes.ts';
export { toCamel, toSnake, type Tree } from './schema-tree.ts';
export { secretsOf, shortestSecret } from './secrets.ts';
export { rowOf, type SeriesName } from './series.ts';
export { choice, credential, date, duration, flag, integer, network, orNull, secret, text, type ValueType } from './value-types.ts';
