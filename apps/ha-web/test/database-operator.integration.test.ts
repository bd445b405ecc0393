/** What an operator does by hand, on real machines under load. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatabaseMachines, Orders, storedOrders, type DatabaseName } from './database-machines.ts';

let machines: DatabaseMachines;

beforeAll(async () => {
  machines = await DatabaseMachines.start({ name: 'lab-ha-web-operator', prefix: '10.92.3' });
});
afterAll(async () => machines?.[Symbol.asyncDispose]());

const db = (on: DatabaseName, ...words: readonly string[]): Promise<string> =>
  machines.exec(machines.databases[on].id, 'node', 'src/main.ts', 'db', ...words);

describe('the commands of a database machine', () => {
  it('show the machines, let them change places under load, and fill a replica anew', async () => {
    await using orders = await Orders.start(machines.address('floating'), 4);
    expect(await db('db-1', 'verify')).toMatch(
      /^epoch 1: db-1 is the primary, its replica is in sync\ndb-1: primary, .*\ndb-2: replica/,
    );
    expect(await db('db-2', 'takeover')).toContain('db-2: primary');
    expect(await db('db-1', 'newSlave')).toContain('db-1: replica');
    await machines.whole();
    expect(await db('db-1', 'initSlave')).toContain('db-1: replica');
    await machines.whole();
    await orders.served();
    await orders.stop();
    const stored = await storedOrders(machines, 'db-2');
    expect([...orders.acknowledged.keys()].filter((key) => stored.get(key) !== 1)).toEqual([]);
  });

  it('refuse what would lose data, and do it by force', async () => {
    const primary = await machines.primary();
    const replica = primary === 'db-1' ? 'db-2' : 'db-1';
    await expect(db(primary, 'initSlave')).rejects.toThrow(`${primary} is no replica`);
    await expect(db(replica, 'newMaster', '--force')).rejects.toThrow(`${primary} is the primary and is alive`);
    await machines.databases[replica].kill();
    await using orders = await Orders.start(machines.address('floating'), 2);
    await orders.served();
    await orders.stop();
    await machines.databases[primary].kill();
    await machines.databases[replica].start();
    await expect(db(replica, 'takeover')).rejects.toThrow(`${replica} is not in sync: it may not take over`);
    expect(await db(replica, 'newMaster', '--force')).toContain(`${replica}: primary`);
    await machines.databases[primary].start();
    await machines.whole();
    expect(await machines.log(primary)).toContain('client transactions: saved in');
  });
});
