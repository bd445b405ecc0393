/** What the databases do beside what the drill shows: what an operator does by hand, and what becomes of rows that only an old primary had. On real machines under load. */
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatabaseMachines, Orders, storedOrders, type DatabaseName } from './database-machines.ts';
import { startApi } from './shop-services.ts';
import { Shoppers, stockAtFirst } from './shoppers.ts';

let machines: DatabaseMachines;

beforeAll(async () => {
  machines = await DatabaseMachines.start({ name: 'lab-ha-web-database', prefix: '10.92.3' });
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
    expect(await machines.log(primary)).toMatch(/had \d+ client transactions of its own behind \S+, saved in/);
  });
});

describe('a replica whose server hangs', () => {
  it('gets another agent when the first one has given up, and is in sync again', async () => {
    const replica = (await machines.primary()) === 'db-1' ? 'db-2' : 'db-1';
    const { id } = machines.databases[replica];
    const isSilent = (): Promise<boolean> =>
      machines.status(replica).then(
        () => false,
        () => true,
      );
    await machines.exec(id, 'pkill', '-STOP', '-x', 'mariadbd');
    await eventually(isSilent, { timeoutMs: 120_000 });
    await machines.exec(id, 'pkill', '-CONT', '-x', 'mariadbd');
    await machines.whole();
  });
});

describe('a database whose keepalived hangs', () => {
  it('has the address when it becomes the primary', async () => {
    const primary = await machines.primary();
    const replica = primary === 'db-1' ? 'db-2' : 'db-1';
    await using orders = await Orders.start(machines.address('floating'), 2);
    await machines.exec(machines.databases[replica].id, 'pkill', '-STOP', '-x', 'keepalived');
    await orders.served();
    await machines.databases[primary].kill();
    await orders.served();
    expect(await machines.primary()).toBe(replica);
    await machines.databases[primary].start();
    await machines.whole();
  });
});

describe('a primary that has lost its disk', () => {
  it('leaves the last data alone that there are: an operator decides', async () => {
    const primary = await machines.primary();
    const replica = primary === 'db-1' ? 'db-2' : 'db-1';
    await using orders = await Orders.start(machines.address('floating'), 2);
    await orders.served();
    const onBoth = [...orders.acknowledged.keys()];
    await machines.databases[replica].kill();
    await eventually(async () => !(await machines.status(primary)).replicaInSync);
    await orders.stop();
    await machines.databases[primary].kill();
    await machines.wipeDisk(primary);
    await Promise.all([machines.databases[replica].start(), machines.databases[primary].start()]);
    const lastSaid = async (name: DatabaseName): Promise<string> => (await machines.status(name)).events[0]!.text;
    await eventually(async () => (await lastSaid(primary)).includes('has lost its data'), { timeoutMs: 60_000 });
    await eventually(async () => (await lastSaid(replica)) === 'sets out to follow the primary', { timeoutMs: 60_000 });
    expect(await db(replica, 'newMaster', '--force')).toContain(`${replica}: primary`);
    await machines.whole();
    const stored = await storedOrders(machines, primary);
    expect(onBoth.filter((key) => stored.get(key) !== 1)).toEqual([]);
  });
});

describe('an old primary that was cut off', () => {
  it('saves and names what only it had, and is filled anew', async () => {
    await using before = await Orders.start(machines.address('floating'), 4);
    await before.served();
    // A third group of commits would not even be logged while two wait for the replica.
    await before.stop();
    const primary = await machines.primary();
    await machines.databases[primary].partition();
    const insert = "INSERT INTO marketplace.asked_orders (name) VALUES ('on its own')";
    await expect(machines.exec(machines.databases[primary].id, 'mariadb', '-e', insert)).rejects.toThrow('Lost connection');
    await using orders = await Orders.start(machines.address('floating'), 4);
    await orders.served();
    await machines.databases[primary].heal();
    await machines.whole();
    const saved = await machines.exec(machines.databases[primary].id, 'sh', '-c', 'cat /data/diverged/*.sql');
    expect(saved).toContain('on its own');
    const names = await machines.sql(primary, "SELECT COUNT(*) FROM marketplace.asked_orders WHERE name = 'on its own'");
    expect(names).toBe('0');
    expect(await machines.log(primary)).toMatch(/had \d+ client transactions of its own behind \S+, saved in/);
  });
});

describe('the stock of a product that two web servers sell and show', () => {
  it('is linearizable, also when the primary dies, and when it hangs and comes back from the past', async () => {
    await using stack = new AsyncDisposableStack();
    const host = machines.address('floating');
    const start = (name: string) => startApi(name, 3306, 0, undefined, host);
    const servers = await Promise.all([start('web-1'), start('web-2')]);
    stack.defer(() => Promise.all(servers.map((server) => server.stop())).then(() => undefined));
    const isReady = async ({ port }: { port: number }) => (await fetch(`http://127.0.0.1:${port}/health`)).ok;
    await eventually(async () => (await Promise.all(servers.map(isReady))).every(Boolean));
    const first = await machines.primary();
    const second = first === 'db-1' ? 'db-2' : 'db-1';
    await machines.sql(first, `UPDATE marketplace.products SET stock = ${stockAtFirst}`);
    const shoppers = stack.use(new Shoppers(servers.map(({ port }) => port)));
    await shoppers.servedBy(first);
    await machines.databases[first].kill();
    await shoppers.servedBy(second);
    await machines.databases[first].start();
    await machines.whole();
    await machines.databases[second].pause();
    await shoppers.servedBy(first);
    await machines.databases[second].unpause();
    await machines.whole();
    await shoppers.servedBy(first);
    await shoppers.judge();
  });
});
