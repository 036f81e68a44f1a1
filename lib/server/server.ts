// The gate as a process of its own: listening, TLS, signals, the admin listener.

export { createServer } from './create.ts';
export { serve, type Serving } from './serve.ts';
