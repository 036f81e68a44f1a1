const blankLine = Buffer.from('\r\n\r\n');
/** A longer head of a part or name of a model is no one's. */
const longestField = 4096;

/**
 * The `model` field of a multipart form (RFC 7578), the first as Go reads it; null when it has none. Only what stands in a
 * part's own head counts: a file may hold anything.
 * @param type the `Content-Type`, which names the boundary.
 */
export function formModel(body: Buffer, type: string): string | null {
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type);
  if (boundary === null) return null;
  const delimiter = Buffer.from(`--${boundary[1] ?? (boundary[2] as string)}`, 'latin1');
  let part = body.indexOf(delimiter);
  while (part !== -1) {
    const head = part + delimiter.length;
    let from = head;
    if (part === 0 || (body[part - 1] === 0x0a && body[part - 2] === 0x0d)) {
      const value = body.indexOf(blankLine, head) + blankLine.length;
      if (value < head || body.toString('latin1', head, head + 2) === '--') return null;
      // Go also reads RFC 2231's spellings of a name; a part that cannot be read leaves the model untold.
      const lines = value - head > longestField ? null : body.toString('latin1', head, value);
      if (lines === null || /;[ \t]*name\*/i.test(lines)) return null;
      if (isModel(lines)) return fieldAt(body, value);
      from = value - 2;
    }
    part = body.indexOf(delimiter, from);
  }
  return null;
}

function fieldAt(body: Buffer, start: number): string | null {
  const end = body.indexOf('\r\n', start);
  return end === -1 || end - start > longestField ? null : body.toString('utf8', start, end);
}

/** @param head a part's header lines, each behind a line break. */
function isModel(head: string): boolean {
  const disposition = /\r\ncontent-disposition:[ \t]*form-data([^\r\n]*)\r\n/i.exec(head)?.[1];
  if (disposition === undefined || !/^[ \t]*\r\n/.test(head)) return false;
  const parameters = [...disposition.matchAll(/;[ \t]*([\w*]+)=("(?:[^"\\]|\\.)*"|[^;]*)/g)].map(([, name = '', value = '']) => [name.toLowerCase(), value.replaceAll('"', '').trim()] as const);
  return parameters.some(([name, value]) => name === 'name' && value === 'model') && !parameters.some(([name]) => name.startsWith('filename'));
}
