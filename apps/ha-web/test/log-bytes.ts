/** Logs of changes as MariaDB writes them, with as much in each event as the reader looks at. */

const headerBytes = 19;

function event(type: number, body: Buffer, { server = 1, seconds = 0 } = {}): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(seconds, 0);
  header.writeUInt8(type, 4);
  header.writeUInt32LE(server, 5);
  header.writeUInt32LE(headerBytes + body.length, 9);
  return Buffer.concat([header, body]);
}

/** What each log begins with: the magic number, and an event that describes the format. */
export const logHead = Buffer.concat([Buffer.from([0xfe, 0x62, 0x69, 0x6e]), event(15, Buffer.alloc(237))]);

/** A transaction whose rows hold the text, or which is one statement. */
export function transaction(
  sequence: number,
  { server = 1, seconds = 0, text = 'a row', statement = false, domain = 0 } = {},
): Buffer {
  const gtid = Buffer.alloc(23);
  gtid.writeBigUInt64LE(BigInt(sequence), 0);
  gtid.writeUInt32LE(domain, 8);
  gtid.writeUInt8(statement ? 1 : 0, 12);
  const [query, annotate, rows, xid] = [2, 160, 23, 16];
  const rest = statement
    ? [event(query, Buffer.from(text))]
    : [event(annotate, Buffer.from(text)), event(rows, Buffer.from(text)), event(xid, Buffer.alloc(12))];
  return Buffer.concat([event(162, gtid, { server, seconds }), ...rest]);
}

/** What each log ends with, where another one follows. */
export const logEnd = event(4, Buffer.from('bin.000002'));
