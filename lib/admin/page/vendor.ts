// What the page uses of its libraries, bundled apart from it: they change less often.

export { Fragment, render } from 'preact';
export { useCallback, useEffect, useId, useRef, useState } from 'preact/hooks';
export { jsx, jsxs } from 'preact/jsx-runtime';
export { computed, effect, signal, useSignal } from '@preact/signals';
