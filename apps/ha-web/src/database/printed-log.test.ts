import { describe, expect, it } from 'vitest';
import { clientTransactions } from './printed-log.ts';

const gtid = (sequence: number, time = '10:00:00', kind = 'trans'): string =>
  `#260131 ${time} server id 1  end_log_pos 378 CRC32 0xd57ad644 \tGTID 0-1-${sequence} ${kind}`;
const change = (database: string): string =>
  `#260131 10:00:00 server id 1  end_log_pos 487 CRC32 0x84d073e7 \tTable_map: \`${database}\`.\`t\` mapped to number 18`;

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

  it('takes no text of a client for an event', async () => {
    const text = [`#Q> INSERT INTO orders VALUES ('${gtid(7, '10:00:00', 'ddl')}`, `#Q> ${change('marketplace')}')`];
    expect(await clientTransactions([gtid(1), ...text, change('ha')], 'ha')).toBe(0);
  });
});
