// The libraries of the page, bundled apart from it: they change less often.

export * from 'preact';
export * from 'preact/hooks';
export { jsx, jsxs } from 'preact/jsx-runtime';
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from '@preact/signals';
