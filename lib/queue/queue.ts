// Admission: which request runs now, which waits, and which is refused.

export { Queue } from './admission-queue.ts';
export { admission } from './admission.ts';
export { Bytes } from './bytes.ts';
