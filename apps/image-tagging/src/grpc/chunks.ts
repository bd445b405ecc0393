/**
 * Messages that carry bytes, without the two copies that the generated code makes of each: in protobuf's encoding a chunk is a tag, a length, and the bytes.
 * What is not a chunk goes the generated way.
 */
const chunkTag = (2 << 3) | 2; // field 2, length-delimited

/** The message of one field 2 of type bytes. */
export function encodeChunk(chunk: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = chunk.length;
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  length.push(rest);
  return Buffer.concat([Buffer.from([chunkTag, ...length]), chunk]);
}

/** The bytes of such a message, not copied; `undefined` where it is anything else. */
export function decodeChunk(message: Buffer): Buffer | undefined {
  if (message[0] !== chunkTag) return undefined;
  let length = 0;
  let at = 1;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = message[at++];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at + length === message.length ? message.subarray(at) : undefined;
  }
  return undefined;
}
