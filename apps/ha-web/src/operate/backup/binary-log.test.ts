import { describe, expect, it } from 'vitest';
import { logEnd, logHead, transaction } from '../../../test/log-bytes.ts';
import { LogReader, type Transaction } from './binary-log.ts';

function read(bytes: Buffer, chunkBytes = bytes.length): Transaction[] {
  const reader = new LogReader();
  const found: Transaction[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) found.push(...reader.read(bytes.subarray(at, at + chunkBytes)));
  return found;
}

const one = transaction(1, { server: 7, seconds: 1_800_000_000 });
const two = transaction(2, { server: 8, statement: true });

describe('LogReader', () => {
  it('finds each transaction with its place, whatever the portions', () => {
    const log = Buffer.concat([logHead, one, two, logEnd]);
    const begin = logHead.length;
    const [middle, end] = [begin + one.length, begin + one.length + two.length];
    const expected = [
      { server: 7, sequence: 1, seconds: 1_800_000_000, begin, end: middle },
      { server: 8, sequence: 2, seconds: 0, begin: middle, end },
    ];
    for (const chunkBytes of [log.length, 1, 19, 100]) expect(read(log, chunkBytes)).toEqual(expected);
  });

  it('leaves out what is cut off, wherever that is', () => {
    const log = Buffer.concat([logHead, one, two]);
    for (let bytes = log.length - 1; bytes >= log.length - two.length; bytes--)
      expect(read(log.subarray(0, bytes)).map(({ sequence }) => sequence)).toEqual([1]);
    expect(read(Buffer.alloc(0))).toEqual([]);
  });

  it('takes no text for an event', () => {
    const text = Buffer.concat([Buffer.from('Rua B,\n#260131 10:00:00 server id 1 \tGTID 0-1-999 trans\n'), transaction(999)]);
    const hostile = transaction(3, { text: text.toString('latin1') });
    expect(read(Buffer.concat([logHead, hostile, transaction(4)])).map(({ sequence }) => sequence)).toEqual([3, 4]);
  });

  it('reads nothing behind what a disk left as zeros', () => {
    const log = Buffer.concat([logHead, one, Buffer.alloc(5_000), two]);
    for (const chunkBytes of [log.length, 64]) expect(read(log, chunkBytes).map(({ sequence }) => sequence)).toEqual([1]);
  });

  it('refuses a second history', () => {
    expect(() => read(Buffer.concat([logHead, transaction(1, { domain: 3 })]))).toThrow('a transaction of domain 3');
  });
});
