import { describe, expect, it } from 'vitest';
import { clientTransactions, ReplayFilter, sequenceOf } from './database-history.ts';

const gtid = (sequence: number, time = '10:00:00', kind = 'trans'): string =>
  `#260131 ${time} server id 1  end_log_pos 378 CRC32 0xd57ad644 \tGTID 0-1-${sequence} ${kind}`;
const change = (database: string): string =>
  `#260131 10:00:00 server id 1  end_log_pos 487 CRC32 0x84d073e7 \tTable_map: \`${database}\`.\`t\` mapped to number 18`;

function passed(filter: ReplayFilter, lines: readonly string[]): string[] {
  return lines.filter((line) => filter.passes(line));
}

describe('sequenceOf', () => {
  it('is the number of the last transaction, 0 before the first', () => {
    expect(sequenceOf('')).toBe(0);
    expect(sequenceOf('0-173801749-42')).toBe(42);
  });

  it('refuses a history of several domains', () => {
    expect(() => sequenceOf('0-1-42,1-1-3')).toThrow('"0-1-42,1-1-3" is not a position');
  });
});

describe('clientTransactions', () => {
  it('counts transactions that change data of clients, and changes of tables, once each', async () => {
    const lines = [
      gtid(1),
      change('ha'),
      gtid(2),
      change('marketplace'),
      change('marketplace'),
      gtid(3, '10:00:00', 'ddl'),
      gtid(4),
    ];
    expect(await clientTransactions(lines, 'ha')).toBe(2);
  });
});

describe('ReplayFilter', () => {
  const until = Date.UTC(2026, 0, 31, 10, 0, 5) / 1_000;

  it('passes each transaction once, behind the first and up to the time', () => {
    const filter = new ReplayFilter({ after: 1, untilSeconds: until });
    const lines = [gtid(1), 'one', gtid(2), 'two', gtid(3, '10:00:05'), 'three', gtid(4, '10:00:06'), 'four'];
    expect(passed(filter, lines)).toEqual([gtid(2), 'two', gtid(3, '10:00:05'), 'three']);
    expect(filter.last).toBe(3);
    expect(passed(filter, [gtid(2), 'two', gtid(3), 'three'])).toEqual([]);
  });

  it('passes what tells how to read a log, also behind a transaction that is not wanted', () => {
    const filter = new ReplayFilter({ after: 5, untilSeconds: Infinity });
    const start = '#260131 10:00:00 server id 1  end_log_pos 256 CRC32 0x7be30fcc \tStart: binlog v 4, server v 10.11';
    expect(passed(filter, [gtid(5), 'five', start, 'format'])).toEqual([start, 'format']);
  });

  it('refuses to leave a transaction out', () => {
    const filter = new ReplayFilter({ after: 1, untilSeconds: Infinity });
    expect(() => filter.passes(gtid(4))).toThrow('the changes 2 to 3 are missing');
  });

  it('leaves to a later log what that begins with, for what a former primary logged last may not be of the history', () => {
    const filter = new ReplayFilter({ after: 1, untilSeconds: Infinity });
    filter.endBefore(3);
    expect(passed(filter, [gtid(2), 'two', gtid(3), 'of no history'])).toEqual([gtid(2), 'two']);
    filter.endBefore(Infinity);
    expect(passed(filter, [gtid(3), 'three'])).toEqual([gtid(3), 'three']);
  });

  it('wants a transaction again that came to no end', () => {
    const filter = new ReplayFilter({ after: 1, untilSeconds: Infinity });
    filter.passes(gtid(2));
    filter.takeBack();
    expect(filter.passes(gtid(2))).toBe(true);
  });
});
