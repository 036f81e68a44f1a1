const ends = new Set<() => void>();
let listens = false;

/**
 * Runs a function when the process ends: by itself, by `process.exit` or by an error. It must not wait for the event loop.
 * @returns takes it back.
 */
export function atExit(end: () => void): () => void {
  if (!listens) process.on('exit', endAll);
  listens = true;
  ends.add(end);
  return () => void ends.delete(end);
}

function endAll(): void {
  for (const end of ends) {
    try {
      end();
    } catch {
      // The other closers still have to run, and the event log is closed.
    }
  }
}
