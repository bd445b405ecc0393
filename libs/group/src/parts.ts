/** Bytes made of a header, as JSON, and a body: four bytes of length, the header, the body. */

const lengthBytes = 4;

export function joinParts(header: object, body: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.allocUnsafe(lengthBytes);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, body]);
}

/** `undefined` for bytes that were not made so. */
export function splitParts(bytes: Buffer): { header: Readonly<Record<string, unknown>>; body: Buffer } | undefined {
  if (bytes.length < lengthBytes) return undefined;
  const end = lengthBytes + bytes.readUInt32BE(0);
  if (end > bytes.length) return undefined;
  try {
    const header: unknown = JSON.parse(bytes.toString('utf8', lengthBytes, end));
    if (typeof header !== 'object' || header === null) return undefined;
    return { header: header as Record<string, unknown>, body: bytes.subarray(end) };
  } catch {
    return undefined;
  }
}
