// Values as text: durations, sizes, rates, shares and networks, and what a message shows of a value. No library: the journal's thread loads it.

export { readHeaderList } from './header-list.ts';
export { isNetwork } from './network.ts';
export { maskUserinfo, show, showLength, suggestion, whyUnreadable, type Path } from './shown.ts';
export { traceOf, traceparentOf, type Trace } from './trace.ts';
export { readDuration, readRate, readShare, readSize, writeDuration, writeShare, writeSize } from './units.ts';
