/** A value of a row. */
type Value = string | number | boolean | { readonly [name: string]: Value };

/** A file in MaxMind's format (version 2, records of 24 bits), with IPv4 networks under ::/96. @param networks rows by network, none within another. */
export function mmdbOf(networks: Readonly<Record<string, Value>>): Buffer {
  const nodes: [number | Buffer | null, number | Buffer | null][] = [[null, null]];
  for (const [cidr, row] of Object.entries(networks)) place(nodes, bitsOf(cidr), encoded(row));
  const data: Buffer[] = [];
  let size = 0;
  const tree = Buffer.alloc(nodes.length * 6);
  for (const [at, sides] of nodes.entries()) {
    for (const side of [0, 1] as const) {
      const value = sides[side];
      tree.writeUIntBE(value === null ? nodes.length : typeof value === 'number' ? value : nodes.length + 16 + size, at * 6 + side * 3, 3);
      if (!Buffer.isBuffer(value)) continue;
      data.push(value);
      size += value.length;
    }
  }
  const metadata = { node_count: nodes.length, record_size: 24, ip_version: 6, database_type: 'Test', binary_format_major_version: 2, binary_format_minor_version: 0, build_epoch: 1 };
  return Buffer.concat([tree, Buffer.alloc(16), ...data, Buffer.from('abcdef', 'hex'), Buffer.from('MaxMind.com'), encoded(metadata)]);
}

function place(nodes: [number | Buffer | null, number | Buffer | null][], bits: readonly (0 | 1)[], row: Buffer): void {
  let node = 0;
  for (const [at, bit] of bits.entries()) {
    const sides = nodes[node] as [number | Buffer | null, number | Buffer | null];
    if (at === bits.length - 1) sides[bit] = row;
    else {
      if (typeof sides[bit] !== 'number') sides[bit] = nodes.push([null, null]) - 1;
      node = sides[bit];
    }
  }
}

function bitsOf(cidr: string): (0 | 1)[] {
  const [address, length] = cidr.split('/') as [string, string];
  const bits = address.split('.').flatMap((byte) => [...Number(byte).toString(2).padStart(8, '0')].map((bit) => (bit === '1' ? 1 : 0)));
  return [...Array<0>(96).fill(0), ...bits.slice(0, Number(length))];
}

function encoded(value: Value): Buffer {
  if (typeof value === 'string') return Buffer.concat([head(2, Buffer.byteLength(value)), Buffer.from(value)]);
  if (typeof value === 'boolean') return head(14, value ? 1 : 0);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([head(6, 4), bytes]);
  }
  return Buffer.concat([head(7, Object.keys(value).length), ...Object.entries(value).flatMap(([name, member]) => [encoded(name), encoded(member)])]);
}

/** @param size below 285. */
function head(type: number, size: number): Buffer {
  const control = (type > 7 ? 0 : type << 5) | Math.min(size, 29);
  return Buffer.from([control, ...(type > 7 ? [type - 7] : []), ...(size >= 29 ? [size - 29] : [])]);
}
